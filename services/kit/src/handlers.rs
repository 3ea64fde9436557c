//! The handlers of a participant, found by the type of their command.

use std::{collections::HashMap, sync::Arc};

use saga_core::{Command, Direction, TypeName};

use crate::erased::{Local, Outside, Typed};

/// The handlers of a participant. A batch runs them in the order of the list.
pub(crate) struct Handlers<Tx> {
    pub(crate) list: Vec<Handler<Tx>>,
    by_type: HashMap<&'static str, usize>,
}

/// A handler, and the direction of its command.
pub(crate) struct Handler<Tx> {
    pub(crate) direction: Direction,
    pub(crate) kind: Kind<Tx>,
}

/// The kind of a handler: its effect is in the service's own database, or in the outside world.
pub(crate) enum Kind<Tx> {
    Local(Arc<dyn Local<Tx>>),
    Outside(Arc<dyn Outside<Tx>>),
}

impl<Tx> Handlers<Tx> {
    pub(crate) fn none() -> Self {
        Self { list: Vec::new(), by_type: HashMap::new() }
    }

    /// Adds the handler of a command. Panics if the command already has one.
    pub(crate) fn add<C: Command>(&mut self, direction: Direction, kind: Kind<Tx>) {
        let place = self.list.len();
        let known = self.by_type.insert(<C as TypeName>::TYPE, place);
        assert!(known.is_none(), "{} is handled twice", C::TYPE);
        self.list.push(Handler { direction, kind });
    }

    pub(crate) fn find(&self, type_name: &str) -> Option<usize> {
        self.by_type.get(type_name).copied()
    }

    pub(crate) fn at(&self, place: usize) -> &Handler<Tx> {
        &self.list[place]
    }
}

impl<Tx> Handler<Tx> {
    pub(crate) fn typed(&self) -> &dyn Typed {
        match &self.kind {
            Kind::Local(handler) => &**handler,
            Kind::Outside(handler) => &**handler,
        }
    }
}
