//! Who is asked to leave, who is cut, and what counts as lost.

use super::*;
use crate::downstream::unfinished::Room;
use std::{task::Wake, time::Duration};

/// A waker that does what no task's does: it comes back at once.
struct Reentrant(Box<dyn Fn()>);

thread_local! {
    static BACK: RefCell<Option<Reentrant>> = const { RefCell::new(None) };
}

struct CallBack;

impl Wake for CallBack {
    fn wake(self: std::sync::Arc<Self>) {
        let back = BACK.take();
        if let Some(back) = back {
            (back.0)();
        }
    }
}

#[test]
fn a_waker_may_leave_the_register_while_it_is_told() {
    let register = Rc::<Register>::default();
    let first = register.enter(0);
    let second = Rc::new(RefCell::new(Some(register.enter(0))));
    let waker = Waker::from(std::sync::Arc::new(CallBack));
    first.control().set_waker(&Context::from_waker(&waker));
    let (leaving, entered) = (Rc::clone(&second), Rc::clone(&register));
    let control = Rc::clone(first.control());
    BACK.set(Some(Reentrant(Box::new(move || {
        leaving.take();
        drop(entered.enter(1));
        control.set_waker(&Context::from_waker(Waker::noop()));
    }))));
    register.tell(None, Signal::Drain);
    assert_eq!((register.open(), first.control().signal()), (1, Signal::Drain));
    assert!(second.borrow().is_none());
}

#[test]
fn those_who_hold_most_are_told_to_go_and_what_they_held_is_free_when_they_went() {
    let allowance = Arc::<Allowance>::default();
    let register = Register::within(Arc::clone(&allowance), Arc::default());
    let [small, large, larger] = [(); 3].map(|()| register.enter(0));
    allowance.allow(20_000);
    assert_eq!(small.control().hold(100), Room::Left);
    assert_eq!(large.control().hold(7_000), Room::Left);
    assert_eq!(larger.control().hold(9_000), Room::Left);
    // Whoever grows is not the one who must go.
    assert_eq!(small.control().hold(2_000), Room::None);
    assert_eq!([&small, &large, &larger].map(|of| of.control().is_shed()), [false, false, true]);
    assert_eq!(small.control().hold(2_000), Room::None, "it is told, and not gone");
    assert!(!large.control().is_shed(), "one is enough");
    drop(larger);
    assert_eq!(small.control().hold(2_000), Room::Left);
    small.control().release();
    drop(large);
    assert_eq!(allowance.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_came_just_now_is_not_at_rest() {
    let register = Rc::<Register>::default();
    let old = register.enter(0);
    tokio::time::advance(Duration::from_millis(900)).await;
    let new = register.enter(0);
    let told = |pressure| {
        register.close_idle(pressure);
        let told = [&old, &new].map(|of| of.control().signal() == Signal::CloseIfIdle);
        [&old, &new].iter().for_each(|of| of.control().forget());
        told
    };
    assert_eq!(told(Pressure::Shrink), [false, false]);
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(told(Pressure::Shrink), [true, false]);
    assert_eq!(told(Pressure::Refuse), [true, true]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(told(Pressure::Normal), [true, true]);
}

#[test]
fn one_listener_is_told_alone_and_a_weaker_word_changes_nothing() {
    let register = Rc::<Register>::default();
    let (one, other) = (register.enter(1), register.enter(2));
    register.tell(Some(1), Signal::Drain);
    register.tell(None, Signal::CloseIfIdle);
    assert_eq!((one.control().signal(), other.control().signal()), (Signal::Drain, Signal::CloseIfIdle));
    other.control().forget();
    one.control().forget();
    assert_eq!((one.control().signal(), other.control().signal()), (Signal::Drain, Signal::Stay));
    drop((one, other));
    assert!(register.poll_empty(&mut Context::from_waker(Waker::noop())).is_ready());
}
