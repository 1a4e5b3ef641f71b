use super::*;
use crate::io::Stride;

const STREAM: u32 = 65_535;
const MOST: u32 = 100 * STREAM;

/// What a peer was told last: of the connection, of streams.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Told(Option<u32>, Option<u32>);

impl Codec for Told {
    fn set_connection_window(&mut self, bytes: u32) {
        self.0 = Some(bytes);
    }

    fn set_stream_window(&mut self, bytes: u32) -> Result<(), h2::Error> {
        self.1 = Some(bytes);
        Ok(())
    }
}

fn fit(window: &mut Window, streams: usize) -> Told {
    let mut told = Told::default();
    window.fit(streams, &mut told);
    told
}

/// A stream takes as much as windows let it in a round trip, until it is measured no more.
fn runs(window: &mut Window, streams: usize) -> Vec<Told> {
    let (mut stride, pace) = (Stride::default(), Rc::clone(window.pace()));
    let mut told = Vec::new();
    for _ in 0..40 {
        stride.taken(pace.window() as usize, &pace);
        if pace.wants() {
            pace.begin();
            stride.taken(pace.window() as usize, &pace);
            let mut now = Told::default();
            window.measured(streams, &mut now);
            told.push(now);
        }
    }
    told
}

#[test]
fn a_window_has_room_for_each_of_its_streams() {
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
    assert_eq!((fit(&mut window, 1), fit(&mut window, 16)), (Told::default(), Told::default()));
    assert_eq!((fit(&mut window, 17).0, fit(&mut window, 32).0), (Some(2 << 20), None));
    assert_eq!((fit(&mut window, 100).0, fit(&mut window, usize::MAX)), (Some(MOST), Told::default()));
}

#[test]
fn windows_grow_within_what_clients_may_hold_and_give_it_back() {
    let allowance = Arc::<Allowance>::default();
    allowance.allow(6 << 20);
    let windows = Windows::within(allowance);
    let open = || Window::new(Rc::clone(&windows), STREAM, MOST, Back::Now);
    let (mut one, mut other) = (open(), open());
    assert_eq!((fit(&mut one, 48).0, fit(&mut other, 100).0), (Some(3 << 20), Some(2 << 20)));
    assert_eq!(fit(&mut one, 100).0, None);
    drop(other);
    assert_eq!(fit(&mut one, 100).0, Some(4 << 20));
    drop(one);
    assert_eq!(windows.granted.get(), 0);
}

#[test]
fn a_small_window_never_grows_and_a_large_stream_has_its_own() {
    let mut small = Window::new(Rc::default(), STREAM, STREAM, Back::Now);
    assert_eq!((fit(&mut small, 100), runs(&mut small, 1)), (Told::default(), vec![]));
    let mut large = Window::new(Rc::default(), 4 << 20, 10 << 20, Back::Now);
    assert_eq!((large.size, fit(&mut large, 2).0, fit(&mut large, 3).0), (4 << 20, Some(8 << 20), Some(10 << 20)));
    assert_eq!(runs(&mut large, 1), []);
}

#[test]
fn a_stream_that_its_window_holds_up_gets_a_larger_one() {
    let mut window = Window::new(Rc::default(), STREAM, 4 * MOST, Back::Now);
    let told: Vec<_> = runs(&mut window, 1).into_iter().map(|told| (told.1, told.0)).collect();
    let connection = |stream: u32| Some(STREAM + 2 * (stream - STREAM));
    assert_eq!(
        told,
        [
            (Some(4 * STREAM), None),
            (Some(16 * STREAM), connection(16 * STREAM).max(Some(2 << 20))),
            (Some(64 * STREAM), connection(64 * STREAM)),
        ]
    );
}

#[test]
fn a_slow_one_and_a_small_one_do_not() {
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
    let pace = Rc::clone(window.pace());
    let mut measured = 0;
    for _ in 0..1_000 {
        // Each is over before it has used its window.
        Stride::default().taken(STREAM as usize, &pace);
    }
    assert!(!pace.wants());
    let (mut stride, mut told) = (Stride::default(), Told::default());
    for _ in 0..1_000_000 {
        stride.taken(1_024, &pace);
        if pace.wants() {
            pace.begin();
            stride.taken(STREAM as usize / 4, &pace);
            window.measured(1, &mut told);
            measured += 1;
        }
    }
    assert_eq!(told, Told::default());
    assert!((10..80).contains(&measured), "{measured} in a gigabyte");
}

#[test]
fn it_goes_back_where_streams_are_many_or_hold_what_nobody_takes() {
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
    assert_ne!(runs(&mut window, 1), []);
    assert_eq!(fit(&mut window, 10).1, None, "there is room");
    assert_eq!(fit(&mut window, 90).1, Some(STREAM), "there is none");
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
    assert_ne!(runs(&mut window, 1), []);
    let pace = Rc::clone(window.pace());
    let mut stalled: [Stride; 2] = Default::default();
    stalled[0].holds(pace.window() / 2, &pace);
    assert_eq!(fit(&mut window, 2).1, None);
    stalled[1].holds(pace.window() / 2, &pace);
    assert_eq!(fit(&mut window, 2).1, Some(STREAM));
    assert_eq!(runs(&mut window, 2), [], "not soon");
    let held = window.size as usize - pace.surplus();
    assert!(held >= 2 * STREAM as usize, "and there is room for each beside it");
}

#[test]
fn speed_takes_half_of_what_windows_may() {
    let allowance = Arc::<Allowance>::default();
    allowance.allow(8 << 20);
    let windows = Windows::within(Arc::clone(&allowance));
    let mut window = Window::new(Rc::clone(&windows), STREAM, 4 * MOST, Back::Now);
    runs(&mut window, 1);
    assert_eq!((window.pace().window(), windows.granted.get()), (16 * STREAM, 2 << 20));
    let mut other = Window::new(Rc::clone(&windows), STREAM, 4 * MOST, Back::Never);
    assert!(runs(&mut other, 1).iter().all(|told| *told == Told::default()), "what it begins with is for many");
    allowance.allow(1 << 20);
    assert_eq!(fit(&mut window, 1).1, Some(STREAM), "memory is short");
    assert_eq!(windows.granted.get(), 1 << 20, "its connection's stays");
    drop((window, other));
    assert_eq!(windows.granted.get(), 0);
}

#[test]
fn towards_clients_it_never_goes_back_and_grows_as_far_as_those_that_receive_have_room() {
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Never);
    let pace = Rc::clone(window.pace());
    let receives = || {
        let mut stride = Stride::default();
        stride.begins(&pace);
        stride
    };
    let _one = receives();
    assert_ne!(runs(&mut window, 1), []);
    assert_eq!((window.pace().window(), fit(&mut window, 3).1), (16 * STREAM, None));
    let others = [receives(), receives(), receives()];
    assert_eq!(fit(&mut window, 4), Told(Some(MOST), None), "there is no room for twice as many");
    assert_eq!(fit(&mut window, 100).1, None);
    for mut over in others {
        over.ends(&pace);
    }
    assert_eq!((pace.receiving(), fit(&mut window, 1).1, window.pace().window()), (1, None, 16 * STREAM));
}

#[test]
fn those_of_which_nothing_more_comes_hold_up_none_that_receives() {
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Never);
    let pace = Rc::clone(window.pace());
    let mut many: Vec<Stride> = (0..20).map(|_| Stride::default()).collect();
    many.iter_mut().for_each(|stride| stride.begins(&pace));
    assert_eq!(runs(&mut window, 20).iter().filter_map(|told| told.1).max(), None);
    many.iter_mut().skip(1).for_each(|stride| stride.has_come(&pace));
    assert_eq!(runs(&mut window, 20).iter().filter_map(|told| told.1).max(), Some(16 * STREAM));
    many.iter_mut().for_each(|stride| stride.ends(&pace));
    assert_eq!(pace.receiving(), 0);
}

#[test]
fn what_moves_at_once_behind_the_answer_is_seen_the_next_time() {
    let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Never);
    let (mut stride, pace) = (Stride::default(), Rc::clone(window.pace()));
    let mut told = Told::default();
    // All of a window at once, then PING, and its answer before the next.
    let mut answers = 0;
    for _ in 0..3 {
        stride.taken(STREAM as usize, &pace);
        if pace.wants() {
            pace.begin();
            window.measured(1, &mut told);
            answers += 1;
        }
    }
    assert_eq!((answers, told.1), (2, Some(4 * STREAM)));
}

#[test]
fn what_streams_hold_of_large_windows_is_given_back_to_the_connections_as_far_as_it_bears() {
    let allowance = Arc::<Allowance>::default();
    allowance.allow(usize::MAX);
    let windows = Windows::within(Arc::clone(&allowance));
    let mut window = Window::new(Rc::clone(&windows), STREAM, MOST, Back::Never).bears(4 * MOST);
    assert_ne!(runs(&mut window, 1), []);
    let pace = Rc::clone(window.pace());
    let mut stalled: Vec<Stride> = (0..40).map(|_| Stride::default()).collect();
    for (stride, many) in stalled.iter_mut().zip(1..) {
        stride.holds(pace.window(), &pace);
        assert!(!pace.rests());
        pace.looked_at();
        fit(&mut window, many + 1);
        let left = window.size as usize - (many * pace.window() as usize).min(window.size as usize);
        assert!(left >= STREAM as usize || many > 24, "{many} hold, {left} left for another one");
        assert!(window.size <= 4 * MOST);
    }
    stalled.iter_mut().for_each(|stride| stride.ends(&pace));
    assert_eq!(fit(&mut window, 1), Told::default(), "it stays");
    drop(window);
    // Where memory is short it does not.
    allowance.allow(32 << 20);
    let mut window = Window::new(Rc::clone(&windows), STREAM, MOST, Back::Never).bears(4 * MOST);
    runs(&mut window, 1);
    let pace = Rc::clone(window.pace());
    for stride in &mut stalled {
        stride.holds(pace.window(), &pace);
        fit(&mut window, 40);
    }
    assert!(windows.granted.get() <= 16 << 20 && window.size > MOST, "{} of {}", windows.granted.get(), window.size);
}
