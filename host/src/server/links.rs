//! A worker's connections: it tells each when to end, and knows when all have.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::accept::Counted;
use super::activity::{Activity, Clock, Ending, InFlight};
use super::date::Date;
use super::interim::{Asking, Early, Words};

/// How long a connection that was accepted just before the end may take for its first request's head.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// Go on.
    Serve,
    /// End what is in flight, and then itself.
    Drain,
    /// End at once.
    Close,
}

/// All connections of one worker.
#[derive(Default)]
pub(super) struct Links {
    pub(super) clock: Clock,
    date: Rc<Date>,
    open: RefCell<BTreeMap<u64, Rc<Shared>>>,
    next: Cell<u64>,
    ended: Notify,
}

/// How slow a client may be.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// For a request's head.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// To take bytes of an answer that wait for it.
    pub(super) send: Duration,
    /// How many of these it must take a second; zero: any.
    pub(super) send_rate: u64,
}

struct Shared {
    activity: Arc<Activity>,
    most: Most,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    fn order(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Links {
    /// Takes in a connection, until the last of the answer is dropped.
    pub(super) fn open(self: &Rc<Self>, most: Most, counted: Counted) -> Rc<Link> {
        let number = self.next.get();
        self.next.set(number + 1);
        let shared = Rc::new(Shared {
            activity: Arc::new(Activity::new(self.clock.clone(), most.send_rate)),
            most,
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
        });
        self.open.borrow_mut().insert(number, Rc::clone(&shared));
        Rc::new(Link { links: Rc::clone(self), number, shared, _counted: counted })
    }

    /// Closes the connections of clients that have been silent for too long, or take answers too slowly.
    pub(super) fn close_overdue(&self) {
        for shared in self.open.borrow().values() {
            let Most { head, idle, send, .. } = shared.most;
            // A new connection of a gateway that ends has little time to begin its request.
            let head = if shared.order.get() == Order::Drain { head.min(LAST_HEAD) } else { head };
            if shared.activity.is_overdue(head, idle) || shared.activity.takes_slowly(send) {
                shared.order(Order::Close);
            }
        }
    }

    /// Has every connection end once what is in flight on it has.
    pub(super) fn drain(&self) {
        self.open.borrow().values().for_each(|shared| shared.order(Order::Drain));
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Waits until none is open.
    pub(super) async fn ended(&self) {
        while self.count() > 0 {
            self.ended.notified().await;
        }
    }
}

/// One connection, also after it has been upgraded.
#[must_use = "the connection counts as ended when this is dropped"]
pub(super) struct Link {
    links: Rc<Links>,
    number: u64,
    shared: Rc<Shared>,
    _counted: Counted,
}

/// One request that is being answered, or another protocol that is spoken: the connection is open and busy until it is dropped.
pub struct Busy {
    link: Rc<Link>,
    in_flight: InFlight,
    /// What is said before its answer; none: the client does not speak HTTP/2.
    words: Option<Arc<Words>>,
}

impl Busy {
    /// One thing more that keeps the same connection busy.
    #[must_use]
    pub fn another(&self) -> Self {
        let in_flight = self.link.activity().request();
        Self { link: Rc::clone(&self.link), in_flight, words: None }
    }

    /// Whether its request is the connection's last, as far as that is known when it is answered.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.link.activity().may_be_last()
    }

    /// The connection, for what finds later that it must end.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.in_flight.ending()
    }

    /// Leave to say something to the client before it is answered.
    pub fn early(&self) -> Early {
        match &self.words {
            Some(words) => Early::on_stream(Arc::clone(words)),
            None => Early::new(Arc::clone(self.link.activity()), self.link.shared.waker.borrow().clone()),
        }
    }

    /// What asks the client for the request's body; none: it comes unasked, or hyper asks.
    #[must_use]
    pub fn asking(&self) -> Option<Asking> {
        self.words.as_ref().and_then(Asking::on_stream)
    }

    /// Drives an upgraded connection to its end; none where it was closed before.
    pub async fn drive<C: Future>(&self, connection: Pin<&mut C>) -> Option<C::Output> {
        self.link.drive(connection, |_| {}).await
    }
}

impl Link {
    /// A request has come on it.
    pub(super) fn busy(self: &Rc<Self>) -> Busy {
        Busy { link: Rc::clone(self), in_flight: self.activity().request(), words: None }
    }

    /// A request has come on one of its streams, where `words` go before the answer.
    pub(super) fn busy_on_stream(self: &Rc<Self>, words: Arc<Words>) -> Busy {
        Busy { words: Some(words), ..self.busy() }
    }

    /// The date, for answers that hyper does not write.
    pub(super) fn date(&self) -> Rc<Date> {
        Rc::clone(&self.links.date)
    }

    /// What the connection is doing.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.shared.activity
    }

    /// Drives a connection to its end; none where it was closed before. `drain` is called once, if it is to end, but not before
    /// its first request has come: a client that was let in is answered.
    pub(super) async fn drive<C: Future>(
        &self,
        mut connection: Pin<&mut C>,
        drain: impl Fn(Pin<&mut C>),
    ) -> Option<C::Output> {
        let (mut draining, mut drained) = (false, false);
        poll_fn(|cx| {
            self.listen(cx.waker());
            match self.shared.order.get() {
                Order::Close => return Poll::Ready(None),
                Order::Drain if !self.shared.activity.is_new() => draining = true,
                Order::Drain | Order::Serve => draining |= self.shared.activity.is_last(),
            }
            if draining && !drained {
                drained = true;
                drain(connection.as_mut());
            }
            connection.as_mut().poll(cx).map(Some)
        })
        .await
    }

    fn listen(&self, waker: &Waker) {
        let mut known = self.shared.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.links.open.borrow_mut().remove(&self.number);
        self.links.ended.notify_one();
    }
}
