//! The dashboard over computed readings, for working on the page without a cluster:
//! `cargo run -p dashboard --example fake_api -- 127.0.0.1:3000 [MORE_SERIES]`.

use std::sync::Arc;

use anyhow::{Context, Result};
use dashboard::access::Access;
use dashboard::server::{self, Parts};
use store_wire::clock::SystemClock;
use tokio::net::TcpListener;

#[path = "../tests/support/fake_api.rs"]
mod fake_api;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let bulk = match arguments.next() {
        Some(bulk) => bulk
            .parse()
            .with_context(|| format!("{bulk:?} is not a count"))?,
        None => 0,
    };
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    println!("dashboard ready http={}", listener.local_addr()?);
    let clock = Arc::new(SystemClock);
    let api = fake_api::router(clock.clone(), bulk);
    let shutdown = query_app::serve::shutdown_signal()?;
    let router = server::router(Parts {
        api,
        access: Access::open(None),
        clock,
        certificate_expires: None,
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await?;
    Ok(())
}
