use super::*;
use proptest::prelude::*;

/// What a machine is told next: which of its roots, of which queue.
fn hear(queues: &Queues, ready: &mpsc::Sender<Ready>, told: &mut mpsc::Receiver<Ready>) -> Option<(u32, u32)> {
    let next = told.try_recv().ok()?;
    queues.whose(next, ready).map(|root| (root, next.0))
}

#[test]
fn messages_come_in_order_and_each_is_told_once() {
    let queues = Queues::default();
    let (ready, mut told) = mpsc::channel(8);
    let id = queues.register("v", b"q", 1, &ready).unwrap();
    assert_eq!(queues.register("v", b"q", 1, &ready), Ok(id), "idempotent");
    assert_eq!(queues.resolve("v", b"q"), Some(id));
    assert_eq!(queues.resolve("w", b"q"), None);
    queues.enqueue(id, b"a").unwrap();
    queues.enqueue(id, b"b").unwrap();
    assert_eq!(hear(&queues, &ready, &mut told), Some((1, id)));
    assert_eq!(hear(&queues, &ready, &mut told), Some((1, id)));
    assert!(told.try_recv().is_err());
    assert_eq!(queues.dequeue(id).as_deref(), Ok(&b"a"[..]));
    assert_eq!(queues.dequeue(id).as_deref(), Ok(&b"b"[..]));
    assert_eq!(queues.dequeue(id), Err(Status::Empty));
    assert_eq!(queues.dequeue(id + 1), Err(Status::NotFound));
    assert_eq!(queues.enqueue(id + 1, b""), Err(Status::NotFound));
}

#[test]
fn what_a_machine_is_behind_with_it_is_told_of_once_it_has_looked() {
    let queues = Queues::default();
    let (ready, mut told) = mpsc::channel(2);
    let ids = [b"q", b"r"].map(|name| queues.register("v", name, 1, &ready).unwrap());
    for number in 0..10 {
        queues.enqueue(ids[number % 2], b"a").unwrap();
    }
    let mut tells = [0, 0];
    while let Some((_, queue)) = hear(&queues, &ready, &mut told) {
        tells[usize::from(queue == ids[1])] += 1;
        queues.tell_rest();
    }
    assert_eq!(tells, [5, 5], "each message once");
    // What is taken out untold is told to nobody.
    for _ in 0..5 {
        queues.enqueue(ids[0], b"a").unwrap();
    }
    (0..10).for_each(|_| drop(queues.dequeue(ids[0]).unwrap()));
    assert_eq!((told.try_recv().is_ok(), told.try_recv().is_ok()), (true, true));
    queues.tell_rest();
    assert!(told.try_recv().is_err());
    queues.enqueue(ids[1], b"a").unwrap();
    assert_eq!(hear(&queues, &ready, &mut told), Some((1, ids[1])));
}

#[test]
fn a_full_queue_refuses_and_a_dead_machine_is_passed_over() {
    let queues = Queues::default();
    let (dead, gone) = mpsc::channel(8);
    let (ready, mut told) = mpsc::channel(8);
    let id = queues.register("v", b"q", 1, &dead).unwrap();
    queues.register("v", b"q", 4, &ready).unwrap();
    drop(gone);
    queues.enqueue(id, &vec![0; MOST_QUEUE_BYTES]).unwrap();
    assert_eq!(hear(&queues, &ready, &mut told), Some((4, id)));
    assert_eq!(queues.enqueue(id, b"x"), Err(Status::InternalFailure));
    queues.forget("v");
    assert_eq!(queues.dequeue(id), Err(Status::NotFound));
}

#[test]
fn a_queue_that_was_full_once_keeps_no_places() {
    let queues = Queues::default();
    let (ready, _told) = mpsc::channel(1);
    let id = queues.register("v", b"q", 1, &ready).unwrap();
    let room = || queues.0.lock().unwrap().queues[&id].items.capacity();
    for number in 0..MOST_ITEMS {
        queues.enqueue(id, &number.to_le_bytes()).unwrap();
    }
    for number in 0..MOST_ITEMS {
        assert_eq!(queues.dequeue(id).as_deref(), Ok(&number.to_le_bytes()[..]), "in order");
        let left = MOST_ITEMS - number - 1;
        assert!(room() <= FEW.max(4 * left), "{} places for {left}", room());
    }
}

#[test]
fn a_queue_that_is_filled_faster_than_emptied_keeps_no_other_from_being_told() {
    for full in 0..2 {
        let queues = Queues::default();
        let (ready, mut told) = mpsc::channel(2);
        let ids = [b"q", b"r"].map(|name| queues.register("v", name, 1, &ready).unwrap());
        let mut tells = [0, 0];
        for _ in 0..20 {
            (0..3).for_each(|_| queues.enqueue(ids[full], b"a").unwrap());
            queues.enqueue(ids[1 - full], b"a").unwrap();
            for _ in 0..2 {
                if let Some((_, queue)) = hear(&queues, &ready, &mut told) {
                    tells[usize::from(queue == ids[1])] += 1;
                    queues.tell_rest();
                }
            }
        }
        assert!(tells[1 - full] >= 15, "{tells:?}");
    }
}

/// A message on which a machine dies would have it die for ever.
#[test]
fn what_dead_machines_were_to_be_told_of_nobody_is() {
    let queues = Queues::default();
    let (ready, told) = mpsc::channel(2);
    let id = queues.register("v", b"q", 1, &ready).unwrap();
    (0..5).for_each(|_| queues.enqueue(id, b"a").unwrap());
    drop(told);
    (0..5).for_each(|_| queues.enqueue(id, b"a").unwrap());
    let (next, mut told) = mpsc::channel(2);
    assert_eq!(queues.register("v", b"q", 7, &next), Ok(id));
    assert!(told.try_recv().is_err());
    (0..3).for_each(|_| queues.enqueue(id, b"a").unwrap());
    // But one that comes while it lives is told of what it is behind with.
    let (other, mut others) = mpsc::channel(2);
    queues.register("v", b"q", 8, &other).unwrap();
    assert_eq!((hear(&queues, &next, &mut told), hear(&queues, &next, &mut told)), (Some((7, id)), Some((7, id))));
    assert_eq!(hear(&queues, &other, &mut others), Some((8, id)));
    queues.tell_rest();
    assert!(told.try_recv().is_err() && others.try_recv().is_err());
}

/// As after a reload: the machine lives on with another root.
#[test]
fn a_root_that_is_gone_is_told_nothing() {
    let queues = Queues::default();
    let (ready, mut told) = mpsc::channel(8);
    let id = queues.register("v", b"q", 1, &ready).unwrap();
    queues.register("v", b"q", 2, &ready).unwrap();
    queues.leave(1, &ready);
    for _ in 0..4 {
        queues.enqueue(id, b"a").unwrap();
        assert_eq!(hear(&queues, &ready, &mut told), Some((2, id)));
    }
    queues.leave(2, &ready);
    queues.enqueue(id, b"a").unwrap();
    assert!(told.try_recv().is_err());
}

#[test]
fn of_the_roots_of_a_machine_the_last_that_registers_is_told() {
    let queues = Queues::default();
    let (ready, mut told) = mpsc::channel(8);
    let (other, mut others) = mpsc::channel(8);
    let id = queues.register("v", b"q", 1, &ready).unwrap();
    queues.register("v", b"q", 1, &other).unwrap();
    queues.register("v", b"q", 2, &ready).unwrap();
    (0..4).for_each(|_| queues.enqueue(id, b"a").unwrap());
    for _ in 0..2 {
        assert_eq!(
            (hear(&queues, &ready, &mut told), hear(&queues, &other, &mut others)),
            (Some((2, id)), Some((1, id)))
        );
    }
    // A reload takes it away: the one before it goes on.
    queues.leave(2, &ready);
    (0..2).for_each(|_| queues.enqueue(id, b"a").unwrap());
    assert_eq!((hear(&queues, &ready, &mut told), hear(&queues, &other, &mut others)), (Some((1, id)), Some((1, id))));
}

/// As after a reload: what it was told and had not looked at is told all the same.
#[test]
fn of_what_a_machine_was_told_and_has_not_looked_at_those_are_told_who_are_left() {
    let queues = Queues::default();
    let (ready, mut told) = mpsc::channel(8);
    let id = queues.register("v", b"q", 1, &ready).unwrap();
    queues.register("v", b"q", 2, &ready).unwrap();
    (0..4).for_each(|_| queues.enqueue(id, b"a").unwrap());
    assert_eq!(hear(&queues, &ready, &mut told), Some((2, id)));
    queues.leave(2, &ready);
    assert_eq!(hear(&queues, &ready, &mut told), Some((1, id)));
    queues.register("v", b"q", 3, &ready).unwrap();
    queues.leave(1, &ready);
    assert_eq!(hear(&queues, &ready, &mut told), Some((3, id)));
    // The last of this machine goes, and the machine with it: another is told.
    let (other, mut others) = mpsc::channel(8);
    queues.register("v", b"q", 9, &other).unwrap();
    queues.leave(3, &ready);
    assert_eq!(hear(&queues, &ready, &mut told), None);
    drop(told);
    assert_eq!(hear(&queues, &other, &mut others), Some((9, id)));
    assert!(others.try_recv().is_err());
}

/// As where a reload takes the machine away, before there is another or after.
#[test]
fn of_what_a_machine_that_goes_was_told_and_of_what_comes_then_the_next_is_told() {
    for messages in [2, 6] {
        let queues = Queues::default();
        let (ready, told) = mpsc::channel(4);
        let id = queues.register("v", b"q", 1, &ready).unwrap();
        (0..messages).for_each(|_| queues.enqueue(id, b"a").unwrap());
        queues.dequeue(id).unwrap();
        queues.leave(1, &ready);
        drop(told);
        queues.enqueue(id, b"a").unwrap();
        let (next, mut told) = mpsc::channel(16);
        queues.register("v", b"q", 2, &next).unwrap();
        let heard = std::iter::from_fn(|| hear(&queues, &next, &mut told)).count();
        assert_eq!(heard, messages, "each that is in it");
        // But not what one that died was told of.
        queues.enqueue(id, b"a").unwrap();
        drop(told);
        queues.leave(2, &next);
        let (last, mut told) = mpsc::channel(16);
        queues.register("v", b"q", 3, &last).unwrap();
        assert!(told.try_recv().is_err());
    }
}

/// A filter on trial, whose machine hears nothing, registers and fills a queue as those that serve will.
#[test]
fn what_is_put_in_on_trial_the_first_that_serves_is_told() {
    let queues = Queues::default();
    let (tried, _) = mpsc::channel(1);
    let id = queues.register("v", b"q", 1, &tried).unwrap();
    (0..3).for_each(|_| queues.enqueue(id, b"a").unwrap());
    queues.dequeue(id).unwrap();
    let (ready, mut told) = mpsc::channel(8);
    queues.register("v", b"q", 2, &ready).unwrap();
    assert_eq!(hear(&queues, &ready, &mut told), Some((2, id)));
    assert_eq!(hear(&queues, &ready, &mut told), Some((2, id)));
    assert!(told.try_recv().is_err());
    // Tried beside it: the one that serves is told.
    queues.register("v", b"q", 3, &tried).unwrap();
    queues.enqueue(id, b"a").unwrap();
    assert_eq!(hear(&queues, &ready, &mut told), Some((2, id)));
    // The next machine is told nothing anew.
    drop(told);
    let (next, mut told) = mpsc::channel(8);
    queues.register("v", b"q", 2, &next).unwrap();
    assert!(told.try_recv().is_err());
}

#[test]
fn a_name_is_short() {
    let queues = Queues::default();
    let (ready, _told) = mpsc::channel(8);
    let name = [b'q'; MOST_NAME + 1];
    assert_eq!(queues.register("v", &name, 1, &ready), Err(Status::InternalFailure));
    assert_eq!(queues.resolve("v", &name), None);
    let id = queues.register("v", &name[1..], 1, &ready).unwrap();
    assert_eq!(queues.resolve("v", &name[1..]), Some(id));
}

#[test]
fn a_vm_ids_queues_have_one_bound_of_their_own_and_what_is_taken_out_gives_room() {
    let queues = Queues::default();
    let (ready, _told) = mpsc::channel(1);
    let message = vec![0; MOST_QUEUE_BYTES];
    let fill = |vm_id: &str, name: u8| {
        let id = queues.register(vm_id, &[name], 1, &ready).unwrap();
        queues.enqueue(id, &message).map(|()| id)
    };
    let most = u8::try_from(MOST_BYTES / (MOST_QUEUE_BYTES + MESSAGE)).unwrap();
    let filled: Vec<_> = (0..most).map(|name| fill("v", name).unwrap()).collect();
    assert_eq!(fill("v", most), Err(Status::InternalFailure));
    assert_eq!(queues.bytes("v"), usize::from(most) * (MOST_QUEUE_BYTES + MESSAGE));
    let other = fill("w", 0).unwrap();
    assert_eq!(queues.enqueue(other, b"x"), Err(Status::InternalFailure), "it is full itself");
    assert_eq!((queues.refused("v"), queues.refused("w")), ([1, 0, 0, 0], [0, 0, 1, 0]));
    queues.dequeue(filled[0]).unwrap();
    fill("v", most).unwrap();
    queues.forget("v");
    assert_eq!((queues.bytes("v"), queues.bytes("w")), (0, MOST_QUEUE_BYTES + MESSAGE));
    assert!((0..most).all(|name| fill("v", name).is_ok()));
}

#[test]
fn queues_of_one_vm_id_deny_another_none() {
    let queues = Queues::default();
    let (ready, _told) = mpsc::channel(1);
    let register = |vm_id: &str, name: usize| queues.register(vm_id, &name.to_le_bytes(), 1, &ready);
    assert!((0..MOST_QUEUES).all(|name| register("v", name).is_ok()));
    assert_eq!(register("v", MOST_QUEUES), Err(Status::InternalFailure));
    assert!(register("v", 0).is_ok(), "it is there");
    assert!(register("w", 0).is_ok());
    assert_eq!(queues.refused("v"), [0, 1, 0, 0]);
}

/// A machine of the property below.
struct Consumer {
    ready: mpsc::Sender<Ready>,
    told: mpsc::Receiver<Ready>,
    roots: Vec<u32>,
}

impl Consumer {
    fn new(places: usize) -> Self {
        let (ready, told) = mpsc::channel(places);
        Self { ready, told, roots: Vec::new() }
    }

    /// Takes a message where it is told of one; whether it was.
    fn hears(&mut self, queues: &Queues, id: u32) -> bool {
        let Ok(next) = self.told.try_recv() else { return false };
        if queues.whose(next, &self.ready).is_some() {
            // Empty where it was told in vain.
            queues.dequeue(id).ok();
        }
        queues.tell_rest();
        true
    }
}

proptest! {
    /// Machines come, register with several roots, are slow, and go; filters are tried beside them.
    #[test]
    fn while_no_machine_dies_each_message_is_told_to_one_that_lives(
        places in 1_usize..6,
        steps in proptest::collection::vec((0_usize..8, 0_usize..3, 0_u32..4), 1..200),
    ) {
        let queues = Queues::default();
        let (tried, _) = mpsc::channel(1);
        let id = queues.register("v", b"q", 1, &tried).unwrap();
        let mut machines: Vec<_> = (0..3).map(|_| Consumer::new(places)).collect();
        for (step, at, root) in steps {
            let machine = &mut machines[at];
            match step {
                0 => {
                    queues.register("v", b"q", root, &machine.ready).unwrap();
                    machine.roots.push(root);
                }
                1 => {
                    machine.roots.retain(|known| *known != root);
                    queues.leave(root, &machine.ready);
                }
                2 => {
                    let gone = std::mem::replace(machine, Consumer::new(places));
                    gone.roots.iter().for_each(|root| queues.leave(*root, &gone.ready));
                }
                3 => queues.register("v", b"q", root, &tried).map(drop).unwrap(),
                4 | 5 => (0..=root).for_each(|_| queues.enqueue(id, b"a").unwrap()),
                _ => drop(machine.hears(&queues, id)),
            }
            let store = queues.0.lock().unwrap();
            let queue = &store.queues[&id];
            prop_assert!(queue.untold <= queue.items.len());
            prop_assert_eq!(store.untold, queue.waiting());
        }
        queues.register("v", b"q", 0, &machines[0].ready).unwrap();
        while machines.iter_mut().any(|machine| machine.hears(&queues, id)) {}
        prop_assert_eq!(queues.dequeue(id), Err(Status::Empty));
    }
}
