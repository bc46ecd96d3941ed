//! Stores whose files are damaged: the runtime serves from snapshot and log with an alarm, or does not start and says why.

use std::path::{Path, PathBuf};

use crate::support::{Module, Server, replug, until};

/// A data directory with two modules, one of which was swapped and confirmed, and its snapshots.
async fn made() -> Server {
    let mut server = Server::with(&[Module::echo("a", "1.0.0", "lua"), Module::echo("b", "1.0.0", "rhai")]).await;
    server.settle(&Module::echo("a", "2.0.0", "lua")).await;
    assert!(server.terminate().await.success());
    server
}

fn snapshots(data: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(data.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn serves(data: &Path) -> crate::support::Ran {
    replug(&["serve", "--data", &data.display().to_string(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
}

/// What the newest start said is not in order.
fn troubles(server: &Server) -> Vec<String> {
    let logged = server.logged();
    let said = logged.lines().rfind(|line| line.starts_with('{') && line.contains("\"troubles\"")).expect("it says");
    let said: serde_json::Value = serde_json::from_str(said).expect("a document");
    said["troubles"].as_array().unwrap().iter().map(|trouble| trouble.as_str().unwrap().to_owned()).collect()
}

async fn alarms(server: &Server) -> Vec<String> {
    let log = server.ok(&["audit", "--limit", "1000"]).await;
    let all = log.as_array().unwrap().iter().filter(|entry| entry["kind"] == "alarm");
    all.map(|entry| entry["data"]["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_store_that_does_not_open_is_put_aside_and_what_served_serves_again_with_an_alarm() {
    let mut server = made().await;
    // since the newest snapshot only the log knows this
    server.start().await;
    let kept = snapshots(&server.data());
    server.settle(&Module::echo("c", "1.0.0", "lua")).await;
    server.ok(&["deactivate", "b"]).await;
    server.kill();
    for path in snapshots(&server.data()) {
        if !kept.contains(&path) {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::write(server.data().join("store/db"), b"this is no store").unwrap();
    server.start().await;
    for (id, version) in [("a", "2.0.0"), ("c", "1.0.0")] {
        let answer = server.get(&format!("/api/{id}")).await;
        assert_eq!(answer.header("x-replug-module"), format!("{id}@{version}"), "{}", server.logged());
    }
    assert_eq!(server.get("/api/b").await.status, 404);
    assert_eq!(server.slot("b").await.unwrap()["state"], "inactive");
    let told = alarms(&server).await;
    assert_eq!(told.iter().filter(|message| message.contains("is made anew")).count(), 1, "{told:?}");
    // and to those who come once it was raised
    let [trouble] = &troubles(&server)[..] else { panic!("{:?}", troubles(&server)) };
    assert!(trouble.starts_with("store: it was damaged (") && trouble.contains("is made anew of"), "{trouble}");
    let log = server.ok(&["audit", "--limit", "1000"]).await;
    let rebuilt = log.as_array().unwrap().iter().find(|entry| entry["kind"] == "store-rebuilt").expect("it is told");
    let aside = rebuilt["data"]["damaged"].as_str().unwrap();
    assert_eq!(std::fs::read(server.data().join(aside).join("db")).unwrap().get(..4), Some(&b"this"[..]));
    // it is told once, and the store is one as any other
    assert!(server.terminate().await.success());
    server.start().await;
    assert_eq!((alarms(&server).await.len(), troubles(&server)), (told.len(), vec![]));
    assert_eq!(server.get("/api/a").await.status, 200);
    server.ok(&["rollback", "a", "--to", "1.0.0"]).await;
}

#[tokio::test]
async fn a_log_that_is_gone_is_told_by_an_alarm_and_to_those_who_come_later() {
    let mut server = made().await;
    std::fs::rename(server.data().join("audit"), server.root().join("moved")).unwrap();
    server.start().await;
    let [alarm] = &alarms(&server).await[..] else { panic!("{}", server.logged()) };
    assert!(alarm.contains("the store is older than the log"), "{alarm}");
    assert_eq!(troubles(&server), [format!("audit log: {alarm}")]);
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@2.0.0");
}

#[tokio::test]
async fn without_a_snapshot_a_damaged_store_stays_and_the_error_says_what_to_do() {
    let server = made().await;
    let data = server.data();
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    std::fs::write(data.join("store/db"), b"this is no store").unwrap();
    let ran = tokio::task::spawn_blocking({
        let data = data.clone();
        move || serves(&data)
    })
    .await
    .unwrap();
    assert!(ran.code == 1 && ran.err.contains("replug restore") && ran.err.contains("damaged"), "{ran:?}");
    assert!(data.join("store/db").exists());
}

/// Each damage to the file is either none (nothing of what was acknowledged is lost), or is told.
#[tokio::test]
async fn no_flipped_bit_and_no_cut_makes_a_start_panic_or_lose_something_unsaid() {
    let server = made().await;
    let (clean, data) = (server.root().join("clean"), server.data());
    std::fs::rename(&data, &clean).unwrap();
    let size = std::fs::metadata(clean.join("store/db")).unwrap().len();
    let bytes = std::fs::read(clean.join("store/db")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let mut damages: Vec<(String, Vec<u8>)> = Vec::new();
    for step in 0..6 {
        let at = used * step / 6 + 17 * step;
        let mut flipped = bytes.clone();
        flipped[usize::try_from(at).unwrap()] ^= 0x40;
        damages.push((format!("bit of byte {at} of {used}"), flipped));
    }
    for cut in [0, 1, used / 3, used - 1, size - 1] {
        damages.push((format!("cut at {cut} of {used}"), bytes[..usize::try_from(cut).unwrap()].to_vec()));
    }
    let mut zeroed = bytes.clone();
    zeroed[..usize::try_from(used).unwrap()].fill(0);
    damages.push(("zeroes".to_owned(), zeroed));
    let mut server = server;
    for (what, damaged) in damages {
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        copy(&clean, &data);
        std::fs::write(data.join("store/db"), damaged).unwrap();
        server.start().await;
        until("it serves", async || server.get("/api/a").await.status == 200).await;
        let (a, b) = (server.get("/api/a").await, server.get("/api/b").await);
        let shown = (a.header("x-replug-module"), b.header("x-replug-module"));
        assert_eq!(shown, ("a@2.0.0", "b@1.0.0"), "{what}: {}", server.logged());
        let states = server.states("a").await;
        assert_eq!(states.len(), 2, "{what}: {states:?}");
        assert_eq!(server.run(&["audit", "verify"]).await.code, 0, "{what}");
        let rebuilt = !alarms(&server).await.is_empty();
        println!("{what}: {}", if rebuilt { "made anew, with an alarm" } else { "nothing of it was needed" });
        server.kill();
    }
}
