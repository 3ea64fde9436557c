//! The transport: in process, and RabbitMQ.
