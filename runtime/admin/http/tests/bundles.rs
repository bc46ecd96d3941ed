//! Uploads that are no bundle.

use super::*;

fn archive(entries: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files("a", "1.0.0", "") {
        append(&mut builder, &path, &content, tar::EntryType::Regular);
    }
    entries(&mut builder);
    builder.into_inner().unwrap()
}

/// Appends an entry whose name the tar crate would refuse to write.
fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], kind: tar::EntryType) {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

#[tokio::test]
async fn hostile_archives_are_refused_and_nothing_is_registered() {
    let server = Server::with(&[]).await;
    let regular = tar::EntryType::Regular;
    let hostile = [
        archive(|builder| append(builder, "../x.lua", b"x", regular)),
        archive(|builder| append(builder, "/etc/x", b"x", regular)),
        archive(|builder| append(builder, "a/../../x", b"x", regular)),
        archive(|builder| append(builder, "main.lua", b"again", regular)),
        archive(|builder| append(builder, "link", b"", tar::EntryType::Symlink)),
        archive(|builder| append(builder, "hard", b"", tar::EntryType::Link)),
        archive(|builder| append(builder, "device", b"", tar::EntryType::Char)),
        archive(|builder| append(builder, "fifo", b"", tar::EntryType::Fifo)),
        archive(|builder| (0..4097).for_each(|n| append(builder, &format!("f{n}"), b"", regular))),
        archive(|_| ())[..600].to_vec(),
        b"no tar at all".repeat(100),
        Vec::new(),
    ];
    for (case, bytes) in hostile.iter().enumerate() {
        let answer = server.ask("POST", "/v1/modules", bytes).await;
        assert_eq!(answer.problem(), (422, "bundle".into()), "case {case}");
    }
    assert_eq!(server.world.commands.versions("a").unwrap_err().kind, "not-registered");
    assert_eq!(server.ask("POST", "/v1/modules", &archive(|_| ())).await.status, 201, "without them it is fine");
}

#[tokio::test]
async fn an_upload_that_announces_too_much_is_refused_before_it_is_read() {
    let server = Server::with(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let length = read::MAX_UPLOAD + 1;
    let head = format!(
        "POST /v1/modules HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {length}\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn all_faults_of_a_manifest_come_at_once_each_with_its_place() {
    let server = Server::with(&[]).await;
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "module.manifest.yaml", b"id: BAD\nname: a\nversion: one\n", tar::EntryType::Regular);
    append(&mut builder, "main.lua", b"return {}", tar::EntryType::Regular);
    let answer = server.ask("POST", "/v1/modules", &builder.into_inner().unwrap()).await;
    assert_eq!(answer.problem(), (422, "manifest".into()));
    let body = answer.json();
    assert_eq!(body["location"], json!({"file": "module.manifest.yaml", "line": 1, "column": 5}));
    let lines: Vec<_> =
        body["faults"].as_array().unwrap().iter().map(|fault| fault["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 3]);
}
