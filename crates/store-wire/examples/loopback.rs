//! How many bytes a second one raft stream carries between two endpoints of this machine, and how
//! long a small question takes.
//!
//! `cargo run --release -p store-wire --example loopback -- [MIB] [BODY_KIB]`

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use store_wire::authority::{AUTHORITY_DAYS_DEFAULT, Authority, IssueRequest};
use store_wire::clock::SystemClock;
use store_wire::endpoint::{Connection, Endpoint, EndpointOptions, Protocol};
use store_wire::identity::{Identity, Role};
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (mebibytes, body_kibibytes) = (number(2048)?, number(256)?);
    let folder = tempfile::tempdir()?;
    let authority = Authority::create(
        &folder.path().join("ca"),
        "bench",
        AUTHORITY_DAYS_DEFAULT,
        &SystemClock,
    )?;
    let one = node(&authority, folder.path(), "1")?;
    let two = node(&authority, folder.path(), "2")?;
    let (dialled, accepted) = tokio::join!(
        one.connect(two.local_address()?, Protocol::Raft),
        two.accept()
    );
    let dialled = dialled?;
    let accepted = accepted.ok_or("the endpoint closed")?;
    tokio::spawn(swallow(accepted));

    let (mut sender, mut receiver) = dialled.open().await?;
    let body = Bytes::from(vec![7; body_kibibytes * 1024]);
    let frames = mebibytes * 1024 / body_kibibytes;
    let started = Instant::now();
    for _ in 0..frames {
        sender.send(&0_u8, std::slice::from_ref(&body)).await?;
    }
    sender.send(&1_u8, &[]).await?;
    receiver.receive::<u8>().await?;
    let seconds = started.elapsed().as_secs_f64();
    let megabytes = (frames * body.len()) as f64 / 1e6;
    println!(
        "{megabytes:.0} MB in {seconds:.2} s: {:.0} MB/s",
        megabytes / seconds
    );

    let mut times = Vec::new();
    for _ in 0..2000 {
        let asked = Instant::now();
        sender.send(&1_u8, &[]).await?;
        receiver.receive::<u8>().await?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    println!("round trip p50 {:?}, p99 {:?}", times[1000], times[1980]);
    Ok(())
}

fn node(authority: &Authority, folder: &Path, name: &str) -> Result<Endpoint, Failure> {
    let folder = folder.join(name);
    authority.issue(&IssueRequest::new(Role::Node, name), &folder, &SystemClock)?;
    let identity = Arc::new(Identity::load(&folder)?);
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    Ok(Endpoint::bind(
        address,
        identity,
        &EndpointOptions::default(),
    )?)
}

/// Reads frames, and answers those whose message is 1.
async fn swallow(connection: Connection) -> Result<(), Failure> {
    let (mut sender, mut receiver) = connection.accept().await?;
    while let Some((wants_answer, _body)) = receiver.receive::<u8>().await? {
        if wants_answer == 1 {
            sender.send(&1_u8, &[]).await?;
        }
    }
    Ok(())
}
