//! An axum application with modules in it: it mounts them, offers them a Rust service, calls a service of theirs, follows
//! what happens, and stops cleanly.
//!
//! ```sh
//! cargo run --example embed            # or with an address: -- 127.0.0.1:4000
//! curl http://127.0.0.1:3000/modules/hello/ada
//! curl http://127.0.0.1:3000/greet/ada
//! ```
//!
//! Ctrl-C ends it.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use replug::{EventStream, Methods, Runtime};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// What the script's service `greeter.greet` takes.
#[derive(Serialize)]
struct Visitor {
    name: String,
}

/// What it answers.
#[derive(Deserialize)]
struct Greeting {
    text: String,
    visits: u32,
}

/// What the Rust service `guests.welcome` answers to scripts.
#[derive(Serialize)]
struct Guest {
    visits: u32,
}

/// The Rust service: it counts how often each guest came.
fn guests() -> Methods {
    let book = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    Methods::new().method("welcome", move |name: String, _| {
        let book = Arc::clone(&book);
        async move {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            let visits = book.entry(name).or_default();
            *visits += 1;
            Ok(Guest { visits: *visits })
        }
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    // a real application names a directory of its own: what served is started again from it
    let data = tempfile::tempdir()?;
    let runtime = Arc::new(Runtime::builder().data_dir(data.path()).service("guests", guests()).build().await?);
    let follower = tokio::spawn(follow(runtime.events()));

    runtime.register(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/modules/greeter")).await?;
    runtime.activate("greeter@1.0.0").await?.ensure_serves()?;

    let app = Router::new()
        .route("/greet/{name}", get(greet))
        .with_state(Arc::clone(&runtime))
        .nest("/modules", runtime.router());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(interrupted()).await?;

    runtime.shutdown(Duration::from_secs(5)).await?;
    follower.await?;
    println!("stopped");
    Ok(())
}

/// Says what happens until the runtime is shut down.
async fn follow(mut events: EventStream) {
    while let Some(event) = events.next().await {
        match event.map(|event| serde_json::to_string(&*event)) {
            Ok(Ok(event)) => println!("{event}"),
            Ok(Err(error)) => println!("an event that is no JSON: {error}"),
            Err(missed) => println!("{missed}"),
        }
    }
}

async fn greet(State(runtime): State<Arc<Runtime>>, Path(name): Path<String>) -> Result<String, (StatusCode, String)> {
    let greeting = runtime.call::<Greeting>("greeter", "greet", Visitor { name }).await;
    let greeting = greeting.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(format!("{} ({} so far)\n", greeting.text, greeting.visits))
}

async fn interrupted() {
    // where the signal cannot be waited for, the process ends by it at once
    let _ = tokio::signal::ctrl_c().await;
}
