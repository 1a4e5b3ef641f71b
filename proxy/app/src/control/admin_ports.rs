//! The admin and probe ports of the configuration in force.

use super::state::State;
use crate::admin::{BindError, Bound, Served, serve};
use pillion_config::model::{Admin, AdminAddress};
use std::{net::SocketAddr, rc::Rc};

/// What is served now.
#[derive(Debug, Default)]
pub(super) struct AdminPorts {
    admin: Option<(AdminAddress, Served)>,
    probes: Option<(SocketAddr, Served)>,
}

/// What will be served; the new sockets are bound already.
#[derive(Debug)]
pub(super) struct Plan {
    admin: Next<AdminAddress>,
    probes: Next<SocketAddr>,
}

#[derive(Debug)]
enum Next<A> {
    Keep,
    Close,
    Open(A, Bound),
}

impl AdminPorts {
    pub(super) fn plan(&self, wanted: &Admin) -> Result<Plan, BindError> {
        let kept = self.admin.as_ref().map(|(address, _)| address);
        let admin = match &wanted.address {
            None => Next::Close,
            Some(address) if kept == Some(address) => Next::Keep,
            Some(address) => Next::Open(address.clone(), Bound::admin(address)?),
        };
        let kept = self.probes.as_ref().map(|(address, _)| *address);
        let probes = match wanted.probes {
            None => Next::Close,
            Some(address) if kept == Some(address) => Next::Keep,
            Some(address) => Next::Open(address, Bound::probes(address)?),
        };
        Ok(Plan { admin, probes })
    }

    pub(super) fn commit(&mut self, plan: Plan, state: &Rc<State>) {
        take(&mut self.admin, plan.admin, state, "admin");
        take(&mut self.probes, plan.probes, state, "probes");
    }
}

fn take<A>(now: &mut Option<(A, Served)>, next: Next<A>, state: &Rc<State>, what: &'static str) {
    match next {
        Next::Keep => {}
        Next::Close => *now = None,
        Next::Open(address, bound) => {
            tracing::info!(address = %bound, "{what} served");
            *now = Some((address, serve(bound, Rc::clone(state))));
        }
    }
}
