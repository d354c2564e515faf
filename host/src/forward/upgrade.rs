//! Another protocol on both connections: bytes pass both ways until one side ends or both are silent for too long.

use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use crate::request::Request;

/// The client's half of an upgrade that a service has not accepted yet.
pub(super) struct Client(OnUpgrade);

impl Client {
    /// None where the client's connection cannot be upgraded.
    pub(super) fn of(request: &Request) -> Option<Self> {
        request.head.extensions.get::<OnUpgrade>().cloned().map(Self)
    }

    /// Joins both connections once the response's head has passed.
    pub(super) fn join(self, response: &mut Response<Incoming>) {
        let service = hyper::upgrade::on(response);
        spawn_local(async move {
            let Ok((client, service)) = tokio::try_join!(self.0, service) else { return };
            let (mut client, mut service) = (TokioIo::new(client), TokioIo::new(service));
            // Either side may break off at any time; there is nobody left to tell.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
        });
    }
}
