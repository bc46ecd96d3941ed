//! Rules in Lua inside a Rust program without HTTP: changed while it runs, and changed back.
//!
//! ```sh
//! cargo run --example headless --no-default-features --features lua
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::time::Duration;

use replug::{ActivationStrategy, HostError, HostErrorKind, HostService as _, Methods, Runtime};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Order {
    article: &'static str,
    count: u32,
}

#[derive(Deserialize)]
struct Quote {
    total: f64,
    rule: String,
}

/// What the program knows and the rules ask for.
fn catalogue() -> Methods {
    Methods::new().method("price", |article: String, _| async move {
        match article.as_str() {
            "tea" => Ok(4.5),
            _ => Err(HostError::new(HostErrorKind::NotFound, format!("catalogue.price: there is no {article}"))),
        }
    })
}

async fn show(runtime: &Runtime, article: &'static str) {
    match runtime.call::<Quote>("pricing", "quote", Order { article, count: 10 }).await {
        Ok(quote) => println!("10 x {article}: {:.2} ({})", quote.total, quote.rule),
        Err(error) => println!("10 x {article}: {error}"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/modules");
    // a real application names a directory of its own: what served is started again from it
    let data = tempfile::tempdir()?;
    let runtime = Runtime::builder()
        .data_dir(data.path())
        .modules(format!("{modules}/pricing-1.0.0"))
        .service("catalogue", catalogue().only_for(["pricing"]))
        .build()
        .await?;
    show(&runtime, "tea").await;
    show(&runtime, "coffee").await;

    runtime.register(format!("{modules}/pricing-1.1.0")).await?;
    let report = runtime.activate("pricing@1.1.0").strategy(ActivationStrategy::Instant).await?;
    report.ensure_serves()?;
    println!("pricing@{} is {}", report.version, report.outcome.name());
    show(&runtime, "tea").await;

    let report = runtime.rollback("pricing").await?;
    println!("pricing@{} is {}", report.version, report.outcome.name());
    show(&runtime, "tea").await;

    runtime.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}
