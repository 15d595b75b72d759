//! Which of many unfinished requests is refused, and that its bytes are given back.

use std::collections::VecDeque;

use futures::task::noop_waker;

use super::*;

const KIB: usize = 1024;

/// A body whose frames are there at once; then it ends, or never does.
struct Frames {
    frames: VecDeque<Bytes>,
    ends: bool,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        match this.frames.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if this.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.frames.is_empty()
    }
}

/// A message of `announced` bytes of which `sent` come, the first five one by one.
fn body(budget: &Arc<Budget>, share: &Share, (announced, sent): (usize, usize)) -> Body {
    let length = u32::try_from(announced).unwrap().to_be_bytes();
    let mut frames: VecDeque<Bytes> =
        [&[0], &length[..]].concat().chunks(1).map(Bytes::copy_from_slice).collect();
    frames.push_back(vec![7; sent].into());
    let mut request = Request::new(Body::new(Frames { frames, ends: announced == sent }));
    request.extensions_mut().insert(share.clone());
    budget.count(request).into_body()
}

/// Reads what is there: whether more may come, or why not.
fn read(body: &mut Body) -> Result<Poll<()>, Status> {
    let waker = noop_waker();
    loop {
        match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => return Ok(Poll::Ready(())),
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(status))) => return Err(status),
        }
    }
}

fn budget(within: Duration) -> Arc<Budget> {
    let limits = Limits { bytes: 1024 * KIB, share_bytes: 512 * KIB, within };
    Budget::new(limits, Arc::default())
}

fn refusal(body: &mut Body) -> tonic::Code {
    read(body).unwrap_err().code()
}

#[tokio::test]
async fn a_large_one_too_many_is_refused_and_a_small_one_takes_the_place_of_the_oldest() {
    let budget = budget(WITHIN);
    let mut held: Vec<Body> =
        (0..4).map(|_| body(&budget, &Share::default(), (200 * KIB, 10 * KIB))).collect();
    for one in &mut held {
        assert!(read(one).unwrap().is_pending());
    }
    // What it announces counts, not only what came.
    let mut large = body(&budget, &Share::default(), (200 * KIB, 10 * KIB));
    assert_eq!(refusal(&mut large), tonic::Code::ResourceExhausted);
    // A second time, too, as long as it is asked.
    assert_eq!(refusal(&mut large), tonic::Code::ResourceExhausted);

    let mut small: Vec<Body> = (0..24).map(|_| body(&budget, &Share::default(), (KIB, 1))).collect();
    for one in &mut small {
        assert!(read(one).unwrap().is_pending());
    }
    assert_eq!(refusal(&mut held[0]), tonic::Code::ResourceExhausted);
    assert!(read(&mut held[1]).unwrap().is_pending());
    drop((held, small));
    let waiting = budget.waiting();
    assert_eq!((waiting.bytes, waiting.requests.len()), (0, 0));
}

#[tokio::test]
async fn one_connection_has_its_share_only() {
    let budget = budget(WITHIN);
    let (own, other) = (Share::default(), Share::default());
    let mut held: Vec<Body> = (0..2).map(|_| body(&budget, &own, (200 * KIB, 1))).collect();
    for one in &mut held {
        assert!(read(one).unwrap().is_pending());
    }
    assert_eq!(refusal(&mut body(&budget, &own, (200 * KIB, 1))), tonic::Code::ResourceExhausted);
    assert!(read(&mut body(&budget, &other, (200 * KIB, 1))).unwrap().is_pending());
    held.clear();
    assert!(read(&mut body(&budget, &own, (200 * KIB, 1))).unwrap().is_pending());
}

#[tokio::test]
async fn one_that_is_whole_holds_nothing() {
    let budget = budget(WITHIN);
    let mut whole = body(&budget, &Share::default(), (200 * KIB, 200 * KIB));
    assert!(read(&mut whole).unwrap().is_ready());
    assert_eq!(budget.waiting().bytes, 0);
}

#[tokio::test]
async fn one_that_takes_too_long_is_refused() {
    let budget = budget(Duration::from_millis(20));
    let mut slow = body(&budget, &Share::default(), (200 * KIB, 1));
    let refused = std::future::poll_fn(|cx| match Pin::new(&mut slow).poll_frame(cx) {
        Poll::Ready(Some(Ok(_))) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Ready(Some(Err(status))) => Poll::Ready(status),
        Poll::Ready(None) => unreachable!("it never ends"),
        Poll::Pending => Poll::Pending,
    });
    assert_eq!(refused.await.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(budget.waiting().bytes, 0);
}
