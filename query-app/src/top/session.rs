//! The live view at a terminal: asks the store and the keyboard, and draws.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures::StreamExt as _;
use sensor_model::Pattern;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::screen::Screen;
use super::state::{Flow, State};
use super::view::draw;
use crate::client::Client;
use crate::client::answer::LastAnswer;
use crate::client::cluster::NodeReport;
use crate::failure::Failure;
use crate::question::Terms;

/// What the store says.
enum Heard {
    Readings(Result<LastAnswer, Failure>),
    Nodes(Result<Vec<NodeReport>, Failure>),
}

/// Shows the series that match `pattern`, asked for anew `every` so often, until the user has seen
/// enough or interrupts it. The terminal is as it was afterwards, also after a panic and when the future is
/// dropped.
///
/// # Errors
/// The terminal cannot be used.
pub(crate) async fn show(
    client: &Client,
    terms: &Terms,
    pattern: Pattern,
    every: Duration,
) -> io::Result<()> {
    let mut screen = Screen::take()?;
    let mut events = EventStream::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut state = State::new(pattern.as_str().to_owned());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (sender, mut heard) = mpsc::channel(2);
    // A question that is not answered yet is not asked again.
    let is_asking = Arc::new(AtomicBool::new(false));
    loop {
        screen
            .terminal
            .draw(|frame| draw(&state, client.now(), frame))?;
        tokio::select! {
            event = events.next() => match event.transpose()? {
                Some(Event::Key(key)) if state.key(key) == Flow::End => return Ok(()),
                // Whatever it was, a new size for one, the next drawing shows it.
                Some(_) => {}
                None => return Ok(()),
            },
            _ = interrupt.recv() => return Ok(()),
            Some(heard) = heard.recv() => match heard {
                Heard::Readings(answer) => state.take_readings(answer),
                Heard::Nodes(nodes) => state.take_nodes(nodes),
            },
            _ = ticks.tick() => {
                if !is_asking.swap(true, Ordering::Relaxed) {
                    let (client, terms, pattern) = (client.clone(), *terms, pattern.clone());
                    let (sender, is_asking) = (sender.clone(), Arc::clone(&is_asking));
                    tokio::spawn(async move {
                        let readings = async {
                            let answer = client.last(&pattern, &terms).await;
                            // Nobody listens once the view is over.
                            let _ = sender.send(Heard::Readings(answer)).await;
                        };
                        let nodes = async {
                            let nodes = client.cluster(&terms).await;
                            let _ = sender.send(Heard::Nodes(nodes)).await;
                        };
                        tokio::join!(readings, nodes);
                        is_asking.store(false, Ordering::Relaxed);
                    });
                }
            }
        }
    }
}
