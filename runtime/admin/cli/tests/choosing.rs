//! `capabilities` and `choose`, as people and programs read them.

use super::remote::Server;
use super::*;

#[tokio::test]
async fn who_offers_who_needs_and_who_is_called_is_shown_and_chosen() {
    let server = Server::start().await;
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let expected = [
        "CAPABILITY MODULE VERSION OFFERS SERVES CALLED",
        "sql a 1.0.0 2.0.0 yes yes",
        "sql b 1.0.0 2.0.0 yes",
        "c needs sql ^2 from a",
    ];
    assert_eq!(lines(&server.run("capabilities").await.out), expected);
    assert_eq!(server.run("choose sql b").await.out, "sql is called of b\n");
    assert_eq!(lines(&server.run("capabilities sql").await.out)[2], "sql b 1.0.0 2.0.0 yes chosen");
    assert_eq!(server.run("choose sql --any").await.out, "sql is called of whichever serves: a\n");
    assert_eq!(server.run("capabilities --json").await.json()[0]["id"], "sql");
    let unknown = server.run("capabilities mail --json").await;
    assert_eq!((unknown.exit, &unknown.error()["kind"]), (Exit::Failed, &"not-offered".into()));
    for wrong in ["choose sql", "choose sql b --any", "choose sql b@1.0.0"] {
        assert_eq!(server.run(wrong).await.exit, Exit::Usage, "{wrong}");
    }
}
