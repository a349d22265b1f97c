//! All sessions of a user, ended.

use futures::future::join_all;
use larder_core::StoreError;

use super::{AT_ONCE, RedisSessions};

/// A session that was ended, under the key where it was in the end.
pub(super) struct Ended {
    pub(super) key: String,
    /// Whether its time was not over yet.
    pub(super) was_live: bool,
    pub(super) user: Option<String>,
}

impl RedisSessions {
    /// Ends by `end` what stands under the keys that may hold sessions of `user`, many of them at
    /// once; how many were live.
    ///
    /// The index forgets what has ended before more is begun, so that a call that runs out of time,
    /// or fails at one of them, leaves less to the next.
    pub(super) async fn end_each<F>(
        &self,
        operation: &'static str,
        user: &str,
        end: impl Fn(String) -> F + Send + Sync,
    ) -> Result<u64, StoreError>
    where
        F: Future<Output = Result<Option<Ended>, StoreError>> + Send,
    {
        let _call = self.shared.calls.enter(operation)?;
        let keys = self.keys_of(operation, user, self.now()).await?;
        let mut were_live = 0;
        for keys in keys.chunks(AT_ONCE) {
            let (mut over, mut failed) = (Vec::with_capacity(keys.len()), None);
            for result in join_all(keys.iter().cloned().map(&end)).await {
                match result {
                    Ok(Some(ended)) => {
                        were_live += u64::from(ended.was_live);
                        over.push(ended.key);
                    }
                    Ok(None) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            self.forget(operation, user, &over).await;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(were_live)
    }
}
