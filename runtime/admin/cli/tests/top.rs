//! `top`.

use std::time::Duration;

use super::remote::Server;
use super::*;

#[tokio::test]
async fn the_modules_stand_in_the_order_of_what_they_use() {
    let server = Server::start().await;
    assert!(server.run("top").await.out.contains("nothing serves yet"));
    for id in ["idle", "busy"] {
        let folder = server.module(id, "1.0.0", "");
        server.run(&format!("register {folder}")).await;
        server.run(&format!("activate {id}")).await;
    }
    let account = server.world.accounts.of(&"busy".into());
    account.counts.heap(3 << 20);
    account.counts.cpu(Duration::from_millis(61_000));
    let out = server.run("top").await.out;
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(out.starts_with("process: ") && out.contains("modules: 3.0 MiB"), "{out}");
    assert_eq!(rows[2][..5], ["ID", "CORES", "OF", "CPU", "TIME"]);
    assert_eq!(rows[3][..9], ["busy", "0.00", "-", "1", "min", "1", "s", "3.0", "MiB"]);
    assert_eq!(rows[4][..3], ["idle", "0.00", "-"]);
    let one = server.run("top busy").await.out;
    assert_eq!(one.lines().count(), 2, "{one}");
    let json = server.run("top busy --json").await.json();
    assert_eq!((&json["id"], &json["memory"], &json["cpuMillis"]), (&"busy".into(), &(3 << 20).into(), &61_000.into()));
    let unknown = server.run("top bussy --json").await;
    assert_eq!((unknown.exit, &unknown.error()["kind"]), (Exit::Failed, &"not-registered".into()));
    assert_eq!(server.run("top --every 0").await.exit, Exit::Usage);
}
