//! Who may call the shop's methods.

use saga_identity::{CLIENT, Line, Role, Who};

/// Receives goods.
pub const STOCK: Role = Role("stock");
/// Names products and sets their prices, when receiving goods.
pub const STOCK_PRICE: Role = Role("stock.price");

const CLIENTS: Who = Who::OneOf(&[CLIENT]);

/// Who may call the shop's methods: one line for each.
pub const LINES: &[Line] = &[
    Line { method: "saga.shop.v1.Orders/PlaceOrder", who: CLIENTS },
    Line { method: "saga.shop.v1.Orders/GetOrder", who: CLIENTS },
    Line { method: "saga.shop.v1.Orders/ListOrders", who: CLIENTS },
    Line { method: "saga.shop.v1.Orders/WatchOrder", who: CLIENTS },
    Line { method: "saga.shop.v1.Orders/CancelOrder", who: CLIENTS },
    Line { method: "saga.shop.v1.Orders/ReturnOrder", who: CLIENTS },
    Line { method: "saga.shop.v1.Orders/GetReturn", who: CLIENTS },
    Line { method: "saga.shop.v1.Catalogue/ListProducts", who: Who::AnyPrincipal },
    Line { method: "saga.shop.v1.Catalogue/Restock", who: Who::OneOf(&[STOCK]) },
];
