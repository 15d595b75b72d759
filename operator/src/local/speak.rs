//! The caller's side of a verb: asks a run, and knows what to make of one that is not up or that ends meanwhile.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::control::{self, ControlError, Request, Response};
use super::errors::LocalError;
use super::layout::Layout;
use super::stopped;

/// How long a run that said that it ends is given to do so.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
const ASKED_EACH: Duration = Duration::from_millis(20);

/// Asks the run of `name` whose data is in `layout`. A stop or a delete returns only once the run has ended.
///
/// # Errors
/// There is no such run, or it does not answer.
pub async fn speak(name: &str, layout: &Layout, request: &Request) -> Result<Response, LocalError> {
    let content = stopped::check_name(layout, name)?;
    let ends = matches!(request, Request::Stop | Request::Delete);
    match control::ask(name, &layout.socket(), request).await {
        Err(ControlError::NotRunning { .. }) if *request == Request::Delete => {
            Ok(Response::Done { text: stopped::delete(layout, name)? })
        }
        Err(ControlError::NotRunning { .. }) => Err(stopped::not_up(layout, name, content.as_ref())),
        // It ends without a word, for a signal or because another caller asked first: that is what was wanted.
        Ok(Response::Ending) | Err(ControlError::Broken { .. }) if ends && has_ended(layout).await => {
            let text = match request {
                Request::Delete if layout.record().exists() => stopped::delete(layout, name)?,
                Request::Delete => format!("{name} stopped, and its data is removed"),
                Request::Stop | Request::Scale { .. } | Request::Status | Request::Wipe { .. } => {
                    format!("{name} stopped; its data stays in {}", layout.root().display())
                }
            };
            Ok(Response::Done { text })
        }
        Ok(Response::Ending) => Ok(Response::refused(format!("the run of {name} is ending"))),
        Ok(response @ Response::Done { .. }) => {
            if ends {
                has_ended(layout).await;
            }
            Ok(response)
        }
        Ok(response @ (Response::Status { .. } | Response::Refused { .. })) => Ok(response),
        Err(
            error
            @ (ControlError::Broken { .. } | ControlError::Foreign { .. } | ControlError::Listen { .. }),
        ) => Err(error.into()),
    }
}

/// Waits until no run has the directory any more.
async fn has_ended(layout: &Layout) -> bool {
    let deadline = Instant::now() + ENDS_WITHIN;
    loop {
        match layout.is_free() {
            Ok(true) => return true,
            // Somebody else's file system trouble is not an end.
            Err(_) => return false,
            Ok(false) if Instant::now() >= deadline => return false,
            Ok(false) => sleep(ASKED_EACH).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;
    use tokio::sync::oneshot;

    use super::*;

    fn layout(directory: &tempfile::TempDir) -> Layout {
        Layout::create(directory.path()).unwrap()
    }

    /// A run that closes the connection and then takes `lingers` to let go of its directory.
    async fn ends_without_a_word(layout: &Layout) -> oneshot::Sender<()> {
        let (end, ended) = oneshot::channel::<()>();
        let listener = UnixListener::bind(layout.socket()).unwrap();
        let lock = layout.lock("orders").unwrap();
        tokio::spawn(async move {
            drop(listener.accept().await.unwrap());
            ended.await.ok();
            drop(lock);
        });
        end
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_end_and_then_is_done_even_if_nobody_said_so() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        let end = ends_without_a_word(&layout).await;
        let stopping = tokio::spawn({
            let layout = layout.clone();
            async move { speak("orders", &layout, &Request::Stop).await }
        });
        tokio::task::yield_now().await;
        assert!(!stopping.is_finished(), "the run still has the directory");
        end.send(()).unwrap();
        let response = stopping.await.unwrap().unwrap();
        let Response::Done { text } = response else { panic!("{response:?}") };
        assert!(text.starts_with("orders stopped"), "{text}");
    }

    #[tokio::test]
    async fn a_verb_that_a_run_does_not_answer_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout(&directory);
        let _end = ends_without_a_word(&layout).await;
        let error = speak("orders", &layout, &Request::Scale { replicas: 5 }).await.unwrap_err();
        assert!(matches!(error, LocalError::Control(ControlError::Broken { .. })), "{error:?}");
    }

    #[tokio::test]
    async fn a_verb_to_a_run_that_is_not_up_says_so() {
        let directory = tempfile::tempdir().unwrap();
        for request in
            [Request::Status, Request::Stop, Request::Delete, Request::Wipe { ordinal: 0, force: false }]
        {
            let error = speak("orders", &layout(&directory), &request).await.unwrap_err();
            assert!(matches!(error, LocalError::NotUp { .. }), "{request:?}: {error:?}");
            assert_eq!(error.exit_code(), 1);
        }
    }
}
