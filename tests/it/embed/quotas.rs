//! At the brink of each quota the permission manager answers an application as the runtime acts.

use std::sync::Arc;
use std::time::Duration;

use replug::{Error, Methods, ResourceType, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Embedded;
use crate::support::Module;

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// A module with these lines in its manifest, whose services these are; `told` gives the message of what a call throws, else nothing.
fn keeper(manifest: &str, services: &str) -> Module {
    let told =
        "local function told(...)\n  local ok, why = pcall(...)\n  return if ok then \"\" else why.message\nend\n";
    Module::new("keeper", "1.0.0")
        .manifest(&format!("capabilities: [{{ id: keeper }}]\n{manifest}"))
        .lua(&format!("{told}return {{ services = {{\n{services}\n}} }}"))
}

impl Embedded {
    /// A runtime with that module, beside a service `gate` of the host.
    async fn keeping(module: Module, gate: &Arc<Gate>) -> Self {
        let gate = Arc::clone(gate);
        let pass = move |(): (), _| {
            let gate = Arc::clone(&gate);
            async move {
                gate.pass().await;
                Ok(())
            }
        };
        let methods = Methods::new().method("pass", pass);
        let host = Self::new(|builder| builder.service("gate", methods).grant_whatever_manifests_ask()).await;
        host.install(&module).await;
        host
    }

    /// Whether the module may use so much more.
    fn may(&self, resource: ResourceType, amount: u64) -> bool {
        self.runtime.permissions().check_resource_quota("keeper", resource, amount)
    }

    async fn call(&self, method: &str, args: Value) -> Result<Value, Error> {
        self.runtime.call_value("keeper", method, args).await
    }

    /// The message of what the service met; empty where it met nothing.
    async fn told(&self, method: &str, args: Value) -> String {
        let told = self.call(method, args).await.expect("it catches");
        told.as_str().expect("a text").to_owned()
    }

    /// Waits until the manager says so.
    async fn until(&self, resource: ResourceType, amount: u64, may: bool) {
        let said = async {
            while self.may(resource, amount) != may {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, said).await.expect("it comes about");
    }
}

/// Holds whoever comes until it is opened.
struct Gate {
    come: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { come: Semaphore::new(0), open: Semaphore::new(0) })
    }

    async fn pass(&self) {
        self.come.add_permits(1);
        self.open.acquire().await.expect("it stays").forget();
    }

    async fn reached(&self, calls: u32) {
        let come = tokio::time::timeout(SOON, self.come.acquire_many(calls)).await;
        come.expect("they come").expect("it stays").forget();
    }
}

/// An entry or a file of that many bytes.
fn kept(key: &str, bytes: u64) -> Value {
    let bytes = i64::try_from(bytes).expect("a few");
    Value::map([("key", Value::from(key)), ("bytes", Value::Int(bytes))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manager_says_of_storage_is_what_store_files_and_database_do() {
    const MAX: u64 = 64 << 10;
    let manifest = "database: { migrations: [{ version: 1.0.0, file: one.sql }] }
permissions:
  system: { filesystem: [{ path: data, access: write }] }
  resources: { storage: { max: 64KiB } }";
    let services = r#"
  ["keeper.put"] = function(a) return told(kv.put, a.key, ("x"):rep(a.bytes)) end,
  ["keeper.write"] = function(a) return told(fs.write, "data/" .. a.key, ("x"):rep(a.bytes)) end,
  ["keeper.insert"] = function(a) return told(db.execute, "insert into t values (zeroblob(?))", { a.bytes }) end,
  ["keeper.clear"] = function(a)
    kv.delete(a.key)
    if fs.exists("data/" .. a.key) then fs.remove("data/" .. a.key) end
  end,"#;
    let module = keeper(manifest, services).file("one.sql", "create table t (b blob)");
    let host = Embedded::keeping(module, &Gate::new()).await;
    let used = || host.runtime.usage("keeper").storage.total();
    assert_eq!(host.told("write", kept("first", 1)).await, "", "it makes the folder");
    for method in ["put", "write"] {
        let before = used();
        assert_eq!(host.told(method, kept("a", 100)).await, "");
        let beside = used() - before - 100;
        let room = MAX - used();
        assert!(host.may(ResourceType::Storage, room) && !host.may(ResourceType::Storage, room + 1));
        let refused = host.told(method, kept("b", room + 1 - beside)).await;
        assert!(refused.contains("storage quota exceeded: 65537 bytes with this write"), "{method}: {refused}");
        assert_eq!(host.told(method, kept("b", room - beside)).await, "", "{method}");
        assert_eq!(used(), MAX);
        assert!(host.may(ResourceType::Storage, 0) && !host.may(ResourceType::Storage, 1));
        for method in ["put", "write", "insert"] {
            let refused = host.told(method, kept("c", 5000)).await;
            assert!(refused.contains("of storage") || refused.contains("storage: { max: "), "{method}: {refused}");
        }
        for key in ["a", "b"] {
            host.call("clear", kept(key, 0)).await.expect("it is cleared");
        }
    }
    // a database grows by pages
    assert!(host.may(ResourceType::Storage, 5000 + (8 << 10)));
    assert_eq!(host.told("insert", kept("", 5000)).await, "");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manager_says_of_the_processor_is_whether_a_call_may_begin() {
    let manifest = "runtime: { limits: { ticks: 100000000000, cpuTime: 20s, wallTime: 20s } }
permissions:
  resources: { cpu: { maxCpuUsage: 0.001, cpuQuotaPeriod: 60s, cpuThrottlingEnabled: false } }";
    let services = r#"
  ["keeper.work"] = function() local t = os.clock() + 0.5 while os.clock() < t do end return "worked" end,"#;
    let host = Embedded::keeping(keeper(manifest, services), &Gate::new()).await;
    let cpu = ResourceType::CpuUsage;
    // a thousandth of a core, and sixty milliseconds of a minute at once
    assert!(host.may(cpu, 0) && host.may(cpu, 1000) && !host.may(cpu, 1001));
    assert_eq!(host.call("work", Value::Null).await.expect("it may"), Value::from("worked"));
    // a thread is charged a moment after it answered
    host.until(cpu, 0, false).await;
    let refused = host.call("work", Value::Null).await.expect_err("it may not");
    assert!(refused.to_string().contains("permissions.resources.cpu.maxCpuUsage"), "{refused}");
    let exceeded = host.runtime.permissions().enforce_resource_quota("keeper", cpu, 0).expect_err("it may not");
    assert_eq!(exceeded.quota, 1000);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manager_says_of_the_heap_is_whether_one_more_machine_has_room() {
    let manifest = "runtime: { workers: 2, limits: { memory: 4MiB, wallTime: 8s } }
permissions:
  resources: { memory: { maxHeapSize: 4MiB } }";
    let services = r#"
  ["keeper.wait"] = function() services.call("gate.pass") return "waited" end,
  ["keeper.quick"] = function() return "quick" end,"#;
    // whoever has little time does not wait long for room
    let hurried = r#"return { services = { ["hurried.ask"] = function()
  local ok, answer = pcall(services.call, "keeper.quick")
  return if ok then answer else answer.message
end } }"#;
    let limits = "capabilities: [{ id: hurried }]\nruntime: { limits: { wallTime: 600ms } }\n";
    // a new one needs so much
    let (heap, room, quick) = (ResourceType::HeapSize, 2 << 20, Value::from("quick"));
    let why = "keeper has used up its memory; `permissions.resources.memory.maxHeapSize`";
    let mut refused = quick.clone();
    // the machine that waits is the one that there is, or else a new one, and then the other has room to go on
    for _ in 0..10 {
        let gate = Gate::new();
        let host = Embedded::keeping(keeper(manifest, services), &gate).await;
        host.install(&Module::new("hurried", "1.0.0").manifest(limits).needs("keeper", "*").lua(hurried)).await;
        let asked = async || host.runtime.call_value("hurried", "ask", Value::Null).await.expect("it catches");
        assert_eq!(asked().await, quick);
        host.until(heap, room, true).await;
        let beside = async {
            gate.reached(1).await;
            assert!(!host.may(heap, room), "the one that runs may grow to all there is");
            let answer = asked().await;
            gate.open.add_permits(1);
            answer
        };
        let (waited, answer) = tokio::join!(host.call("wait", Value::Null), beside);
        assert_eq!(waited.expect("an answer"), Value::from("waited"));
        host.until(heap, room, true).await;
        assert_eq!(asked().await, quick);
        host.end().await;
        refused = answer;
        if refused.as_str().is_some_and(|said| said.contains(why)) {
            return;
        }
    }
    panic!("{refused:?}");
}

/// A server whose answers wait at the gate.
async fn upstream(gate: &Arc<Gate>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let mut seen = [0; 4096];
                while matches!(stream.read(&mut seen).await, Ok(count) if count > 0) {
                    gate.pass().await;
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manager_says_of_connections_is_how_many_there_may_be_at_once() {
    let gate = Gate::new();
    let port = upstream(&gate).await;
    let manifest = format!(
        "runtime: {{ workers: 3, limits: {{ wallTime: 10s }} }}
permissions:
  system: {{ network: [{{ host: 127.0.0.1, ports: [{port}] }}] }}
  resources: {{ network: {{ connectionLimit: 2, maxBandwidth: 4KiB }} }}"
    );
    let services = format!("[\"keeper.ask\"] = function() return told(http.get, \"http://127.0.0.1:{port}/\") end,");
    let host = Embedded::keeping(keeper(&manifest, &services), &Gate::new()).await;
    assert!(host.may(ResourceType::Connections, 2) && !host.may(ResourceType::Connections, 3));
    // the other amounts that nobody adds up
    assert!(host.may(ResourceType::Bandwidth, 4096) && !host.may(ResourceType::Bandwidth, 4097));
    let stack = host.runtime.permissions().quota("keeper", ResourceType::StackSize).expect("it has one");
    assert!(host.may(ResourceType::StackSize, stack) && !host.may(ResourceType::StackSize, stack + 1));
    let third = async {
        gate.reached(2).await;
        let refused = host.told("ask", Value::Null).await;
        assert!(refused.contains("network: { connectionLimit: 4 }"), "{refused}");
        gate.open.add_permits(2);
    };
    let (one, two, ()) = tokio::join!(host.told("ask", Value::Null), host.told("ask", Value::Null), third);
    assert_eq!((one.as_str(), two.as_str()), ("", ""));
    host.end().await;
}
