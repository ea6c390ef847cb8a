//! The live view at a terminal: asks the store and the keyboard, and draws.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{self, Event};
use ratatui::DefaultTerminal;
use sensor_model::Pattern;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::state::{Flow, State};
use super::view::draw;
use crate::client::Client;
use crate::client::answer::LastAnswer;
use crate::client::cluster::NodeReport;
use crate::failure::Failure;
use crate::question::Terms;

/// How long the keyboard is listened to before it is looked whether anybody still wants to know.
const KEYBOARD_PAUSE: Duration = Duration::from_millis(100);
/// Events that wait to be taken; the keyboard waits when there are more.
const EVENTS_MAX: usize = 64;

/// What the store says.
enum Heard {
    Readings(Result<LastAnswer, Failure>),
    Nodes(Result<Vec<NodeReport>, Failure>),
}

/// Shows the series that match `pattern`, asked for anew `every` so often, until the user has seen
/// enough. The terminal is as it was afterwards, also after a panic.
///
/// # Errors
/// The terminal cannot be used.
pub(crate) async fn show(
    client: &Client,
    terms: &Terms,
    pattern: Pattern,
    every: Duration,
) -> io::Result<()> {
    let terminal = ratatui::try_init()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let listening = Arc::clone(&is_over);
    let keyboard = tokio::task::spawn_blocking(move || listen(&sender, &listening));
    let shown = run(terminal, events, client, terms, pattern, every).await;
    is_over.store(true, Ordering::Relaxed);
    let listened = keyboard.await.map_err(io::Error::other).flatten();
    ratatui::try_restore()?;
    shown.and(listened)
}

async fn run(
    mut terminal: DefaultTerminal,
    mut events: mpsc::Receiver<Event>,
    client: &Client,
    terms: &Terms,
    pattern: Pattern,
    every: Duration,
) -> io::Result<()> {
    let mut state = State::new(pattern.as_str().to_owned());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (sender, mut heard) = mpsc::channel(2);
    // A question that is not answered yet is not asked again.
    let is_asking = Arc::new(AtomicBool::new(false));
    loop {
        terminal.draw(|frame| draw(&state, client.now(), frame))?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Key(key)) if state.key(key) == Flow::End => return Ok(()),
                // Whatever it was, a new size for one, the next drawing shows it.
                Some(_) => {}
                None => return Ok(()),
            },
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

/// Hands out what happens at the terminal, until nobody wants it.
fn listen(sender: &mpsc::Sender<Event>, is_over: &AtomicBool) -> io::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        if event::poll(KEYBOARD_PAUSE)? && sender.blocking_send(event::read()?).is_err() {
            break;
        }
    }
    Ok(())
}
