//! The audit log: what was done stands in it, and what is changed there is found.

use std::path::Path;

use crate::support::{Module, Server, replug};

fn verify(data: &Path) -> (i32, String) {
    let ran = replug(&["audit", "verify", "--data", &data.display().to_string()]);
    (ran.code, format!("{}{}", ran.out, ran.err))
}

#[tokio::test]
async fn what_was_done_is_told_in_order_and_a_changed_byte_is_found() {
    let mut server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    server.settle(&Module::echo("probe", "2.0.0", "lua")).await;
    server.ok(&["rollback", "probe"]).await;
    server.ok(&["deactivate", "probe"]).await;
    let history = server.ok(&["history", "probe"]).await;
    let told: Vec<_> = history.as_array().unwrap().iter().map(|entry| entry["command"].as_str().unwrap()).collect();
    assert_eq!(told, ["deactivate", "rollback", "activate", "activate"], "{history}");
    assert_eq!((&history[2]["outcome"], &history[2]["from"]), (&"active".into(), &"1.0.0".into()), "{history}");

    let log = server.run(&["audit"]).await;
    let rows = log.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let rows: Vec<_> =
        rows.flat_map(|row| if let serde_json::Value::Array(rows) = row { rows } else { vec![row] }).collect();
    let kinds: Vec<_> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    let mut expected =
        ["runtime-started", "registered", "activation-began", "activation-ended", "registered"].iter().chain(&[
            "activation-began",
            "activation-ended",
            "confirmed",
            "activation-began",
            "activation-ended",
            "deactivated",
        ]);
    let mut next = expected.next();
    for kind in &kinds {
        if Some(kind) == next {
            next = expected.next();
        }
    }
    assert_eq!(next, None, "in this order in {kinds:?}");
    let confirmed = rows.iter().find(|row| row["kind"] == "confirmed").unwrap();
    assert_eq!((&confirmed["actor"], &confirmed["subject"]), (&"admin".into(), &"probe@2.0.0".into()));

    assert_eq!(verify(&server.data()).0, 0, "of a runtime that runs");
    assert!(server.terminate().await.success());
    assert_eq!(verify(&server.data()).0, 0, "of one that ended");
    let segment = std::fs::read_dir(server.data().join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, said) = verify(&server.data());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(segment.file_name().unwrap().to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_who_follows_events() {
    let mut server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    let token = std::fs::read_to_string(server.data().join("admin.token")).unwrap();
    let url = format!("http://{}/v1/events", server.address("admin"));
    let stream = reqwest::Client::new().get(url).bearer_auth(token.trim()).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(server.terminate().await.success());
    stream.text().await.expect("the stream ends as it should");
}

#[tokio::test]
async fn a_data_directory_that_lost_its_log_says_so_and_one_that_lost_its_store_does_not_start() {
    let mut server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    assert!(server.terminate().await.success());
    let (log, moved) = (server.data().join("audit"), server.root().join("audit-before"));
    std::fs::rename(&log, &moved).unwrap();
    server.start().await;
    let entries = server.ok(&["audit"]).await;
    let fault = entries[0]["data"]["fault"].as_str().unwrap_or_default().to_owned();
    assert!(fault.contains("the store is older than the log"), "{entries}");
    assert!(entries.as_array().unwrap().iter().any(|entry| entry["kind"] == "alarm"), "{entries}");

    assert!(server.terminate().await.success());
    std::fs::remove_dir_all(server.data().join("store")).unwrap();
    let data = server.data().display().to_string();
    let ran = replug(&["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert!(ran.code == 1 && ran.err.contains("the store is missing"), "{ran:?}");
    assert!(!server.data().join("store").exists(), "nothing was begun");
}
