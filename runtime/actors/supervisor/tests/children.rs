//! Children that are terminated, restarted, deleted, added and counted, and floods of them.

use super::*;

async fn order(supervisor: &ActorRef<SupervisorMsg>, order: ChildOrder) -> Result<(), Refusal> {
    match soon(supervisor.call(|reply| SupervisorMsg::Child(order, reply), None)).await {
        Ok(CallResult::Success(answer)) => answer,
        _ => panic!("the supervisor is gone"),
    }
}

async fn count(supervisor: &ActorRef<SupervisorMsg>) -> (usize, usize) {
    match soon(supervisor.call(SupervisorMsg::Count, None)).await {
        Ok(CallResult::Success(Count { specs, active })) => (specs, active),
        _ => panic!("the supervisor is gone"),
    }
}

fn terminate(id: &str) -> ChildOrder {
    ChildOrder::Terminate(id.to_owned())
}

fn again(id: &str) -> ChildOrder {
    ChildOrder::Restart(id.to_owned())
}

fn delete(id: &str) -> ChildOrder {
    ChildOrder::Delete(id.to_owned())
}

#[tokio::test]
async fn a_terminated_child_stays_known_and_down_until_it_is_restarted_or_deleted() {
    let mut family = Family::permanent(&["a", "b"]);
    let supervisor = family.start(Strategy::OneForOne, 1).await;
    assert_eq!(order(&supervisor, again("a")).await, Err(Refusal::Runs("a".into())));
    assert_eq!(order(&supervisor, delete("a")).await, Err(Refusal::Runs("a".into())));
    order(&supervisor, terminate("a")).await.unwrap();
    order(&supervisor, terminate("a")).await.unwrap();
    assert_eq!((family.so_far(), settled(&supervisor).await), (vec!["stop a".to_owned()], vec!["b".to_owned()]));
    assert_eq!((count(&supervisor).await, family.failures()), ((2, 1), 0));
    order(&supervisor, again("a")).await.unwrap();
    assert_eq!(
        (family.so_far(), running(&supervisor).await),
        (vec!["start a".to_owned()], vec!["a".into(), "b".into()])
    );
    order(&supervisor, terminate("a")).await.unwrap();
    order(&supervisor, delete("a")).await.unwrap();
    assert_eq!(count(&supervisor).await, (1, 1));
    for gone in [terminate("a"), again("a"), delete("a")] {
        assert_eq!(order(&supervisor, gone).await, Err(Refusal::Unknown("a".into())));
    }
    // what is left is supervised as before
    family.so_far();
    family.end("b", super::Order::Fail).await;
    assert_eq!(family.next(1).await, ["start b"]);
}

#[tokio::test]
async fn a_temporary_child_is_gone_once_it_is_terminated() {
    let mut family = Family::new(&[("a", Restart::Temporary), ("b", Restart::Permanent)]);
    let supervisor = family.start(Strategy::OneForOne, 1).await;
    order(&supervisor, terminate("a")).await.unwrap();
    assert_eq!(count(&supervisor).await, (1, 1));
    assert_eq!(order(&supervisor, again("a")).await, Err(Refusal::Unknown("a".into())));
}

#[tokio::test]
async fn a_child_that_ended_for_good_can_be_restarted_by_hand() {
    let mut family = Family::new(&[("a", Restart::Transient)]);
    let supervisor = family.start(Strategy::OneForOne, 1).await;
    family.end("a", super::Order::End).await;
    assert_eq!((settled(&supervisor).await.len(), count(&supervisor).await), (0, (1, 0)));
    family.refuse("a", 1);
    let refused = order(&supervisor, again("a")).await;
    assert!(matches!(&refused, Err(Refusal::Start { id, .. }) if id == "a"), "{refused:?}");
    order(&supervisor, again("a")).await.unwrap();
    assert_eq!(count(&supervisor).await, (1, 1));
}

#[tokio::test]
async fn a_terminated_child_comes_back_with_those_that_go_up_together() {
    let mut family = Family::permanent(&["a", "b", "c"]);
    let supervisor = family.start(Strategy::RestForOne, 3).await;
    order(&supervisor, terminate("c")).await.unwrap();
    family.so_far();
    family.end("b", super::Order::Fail).await;
    assert_eq!(family.next(2).await, ["start b", "start c"]);
    order(&supervisor, terminate("a")).await.unwrap();
    family.so_far();
    family.end("b", super::Order::Fail).await;
    assert_eq!(family.next(3).await, ["stop c", "start b", "start c"]);
    assert_eq!(running(&supervisor).await, ["b", "c"], "it was started before them, so it rests on nothing");
}

#[tokio::test]
async fn a_child_that_is_being_restarted_is_neither_restarted_nor_deleted_but_can_be_terminated() {
    let mut family = Family::permanent(&["a", "b"]);
    let supervisor = family.start(Strategy::OneForOne, 1000).await;
    family.refuse("a", usize::MAX);
    family.end("a", super::Order::Fail).await;
    assert_eq!(family.next(5).await, ["refuse a"; 5]);
    for busy in [again("a"), delete("a")] {
        assert_eq!(order(&supervisor, busy).await, Err(Refusal::Restarts("a".into())));
    }
    order(&supervisor, terminate("a")).await.unwrap();
    family.so_far();
    family.refuse("a", 0);
    assert_eq!(settled(&supervisor).await, ["b"]);
    assert!(family.so_far().is_empty(), "its restart is off");
}

#[tokio::test]
async fn a_child_that_was_terminated_is_not_restarted_before_the_one_it_rests_on() {
    for strategy in [Strategy::RestForOne, Strategy::OneForAll] {
        let mut family = Family::permanent(&["a", "b", "c"]);
        let supervisor = family.start(strategy, 1000).await;
        family.refuse("b", usize::MAX);
        family.end("b", super::Order::Fail).await;
        family.next(6).await;
        order(&supervisor, terminate("c")).await.unwrap();
        assert_eq!(order(&supervisor, again("c")).await, Err(Refusal::Restarts("c".into())), "{strategy:?}");
        family.so_far();
        family.refuse("b", 0);
        while settled(&supervisor).await != ["a", "b", "c"] {
            // a plan that is made anew takes back those that it names
            if settled(&supervisor).await == ["a", "b"] {
                order(&supervisor, again("c")).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
        let started: Vec<_> = family.so_far().into_iter().filter(|note| note.starts_with("start")).collect();
        assert_eq!(started[started.len() - 2..], ["start b", "start c"], "{strategy:?}");
    }
}

#[tokio::test]
async fn an_added_child_is_supervised_like_the_others_and_its_id_is_taken() {
    let mut family = Family::permanent(&["a", "b"]);
    let added = family.children.pop().unwrap();
    let supervisor = family.start(Strategy::OneForAll, 5).await;
    order(&supervisor, ChildOrder::Add(added.clone())).await.unwrap();
    assert_eq!(family.next(1).await, ["start b"]);
    assert_eq!(order(&supervisor, ChildOrder::Add(added)).await, Err(Refusal::Taken("b".into())));
    family.end("a", super::Order::Fail).await;
    assert_eq!(family.next(3).await, ["stop b", "start a", "start b"]);
    shut_down(&supervisor).await;
    assert_eq!(family.so_far(), ["stop b", "stop a"]);
}

/// How many children of each kind [`flood`] leaves: those that are known and those that run; starts; and failures.
async fn flood(restart: Restart, intensity: u32) -> ((usize, usize), usize, usize) {
    let (starts, died) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let spec = |n: usize| {
        let starts = Arc::clone(&starts);
        ChildSpec {
            id: format!("child-{n}"),
            restart,
            shutdown: SOON,
            start: Arc::new(move |supervisor| {
                let starts = Arc::clone(&starts);
                Box::pin(async move { Ok(Guest::spawn_linked(None, Guest, starts, supervisor).await?.0.get_cell()) })
            }),
        }
    };
    let failures = Arc::clone(&died);
    let plan = Plan {
        clock: clock(),
        children: Vec::new(),
        strategy: Strategy::OneForOne,
        intensity: Intensity { intensity, period: LONG },
        on_failure: Box::new(move |_, _| {
            failures.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let (supervisor, _) = Supervisor::spawn(None, Supervisor, plan).await.expect("starts");
    for n in 0..MANY {
        order(&supervisor, ChildOrder::Add(spec(n))).await.unwrap();
    }
    assert_eq!((count(&supervisor).await, starts.load(Ordering::SeqCst)), ((MANY, MANY), MANY));
    let children = supervisor.get_children();
    for (n, child) in children.iter().enumerate() {
        if n % 2 == 0 {
            child.kill();
        } else {
            child.stop(None);
        }
    }
    for child in children {
        soon(child.wait(None)).await.expect("ends");
    }
    settled(&supervisor).await;
    let comes_back = match restart {
        Restart::Permanent => MANY,
        // those that were killed
        Restart::Transient => MANY / 2,
        Restart::Temporary => 0,
    };
    let whole = async {
        while count(&supervisor).await.1 < comes_back {
            tokio::task::yield_now().await;
        }
    };
    soon(whole).await;
    let left = count(&supervisor).await;
    shut_down(&supervisor).await;
    (left, starts.load(Ordering::SeqCst), died.load(Ordering::SeqCst))
}

const MANY: usize = 500;

#[tokio::test]
async fn a_flood_of_children_that_come_and_fail_leaves_none_behind() {
    assert_eq!(flood(Restart::Temporary, 0).await, ((0, 0), MANY, 0), "nothing is kept of a temporary one");
}

#[tokio::test]
async fn a_flood_of_permanent_children_that_fail_comes_back_whole() {
    let many = u32::try_from(MANY).unwrap();
    assert_eq!(flood(Restart::Permanent, many).await, ((MANY, MANY), 2 * MANY, MANY));
}

#[tokio::test]
async fn of_a_flood_of_transient_children_those_that_failed_come_back() {
    let many = u32::try_from(MANY).unwrap();
    assert_eq!(flood(Restart::Transient, many).await, ((MANY, MANY / 2), MANY + MANY / 2, MANY / 2));
}

/// A child that counts those that live.
struct Guest;

#[ractor::async_trait]
impl Actor for Guest {
    type Msg = ();
    type State = ();
    type Arguments = Arc<AtomicUsize>;

    async fn pre_start(&self, _: ActorRef<()>, alive: Arc<AtomicUsize>) -> Result<(), ActorProcessingErr> {
        alive.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
