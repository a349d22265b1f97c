use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Serves `app` until `stop` completes; then stops to accept, and gives the requests that run up
/// to `drain` to end. Whether all did.
///
/// # Errors
///
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> std::io::Result<bool> {
    let (stopping, is_stopping) = oneshot::channel();
    let listener = listener.tap_io(|connection| {
        // Small answers are not to wait for more. Where it cannot be set they may.
        let _ = connection.set_nodelay(true);
    });
    // Where a connection comes from is what its client is known by.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = is_stopping.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.map_err(std::io::Error::other)?.map(|()| true),
        () = stop => {}
    }
    let _ = stopping.send(());
    match timeout(drain, &mut server).await {
        Ok(ended) => ended.map_err(std::io::Error::other)?.map(|()| true),
        Err(_) => {
            server.abort();
            Ok(false)
        }
    }
}
