//! The one alarm of an object, and for when it is set.

use std::cell::Cell;

use super::engine::next_sweep;

/// Where an alarm is kept, in milliseconds since the UNIX epoch.
pub(crate) trait Clockwork {
    type Error;

    async fn alarm(&self) -> Result<Option<u64>, Self::Error>;

    /// `now` is the caller's.
    async fn set_alarm(&self, now: u64, at: u64) -> Result<(), Self::Error>;
}

/// Remembers for when the alarm is set, so that not every write has to ask.
#[derive(Debug)]
pub(crate) struct Alarm<C> {
    clockwork: C,
    armed: Cell<Armed>,
}

#[derive(Debug, Clone, Copy)]
enum Armed {
    Unknown,
    Known(Option<u64>),
}

impl<C: Clockwork> Alarm<C> {
    pub(crate) fn new(clockwork: C) -> Self {
        Self { clockwork, armed: Cell::new(Armed::Unknown) }
    }

    /// It has rung, and is set no more.
    pub(crate) fn rang(&self) {
        self.armed.set(Armed::Known(None));
    }

    /// Sets it for what is over at `expires`, unless it is set early enough.
    pub(crate) async fn arm(&self, now: u64, expires: u64) -> Result<(), C::Error> {
        let armed = match self.armed.get() {
            Armed::Known(armed) => armed,
            Armed::Unknown => self.clockwork.alarm().await?,
        };
        let Some(at) = next_sweep(now, armed, expires) else {
            self.armed.set(Armed::Known(armed));
            return Ok(());
        };
        // Before it is set: who comes meanwhile must not put a later one in its place.
        self.armed.set(Armed::Known(Some(at)));
        let set = self.clockwork.set_alarm(now, at).await;
        if set.is_err() {
            self.armed.set(Armed::Unknown);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;

    use futures::FutureExt;
    use futures::future::pending;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Setting {
        Works,
        Fails,
        Hangs,
    }

    /// What an object's storage keeps, which fails when it is told to.
    struct Storage {
        alarm: Cell<Option<u64>>,
        setting: Cell<Setting>,
        asked: Cell<u32>,
    }

    impl Storage {
        fn new(alarm: Option<u64>) -> Rc<Self> {
            let (setting, asked) = (Cell::new(Setting::Works), Cell::new(0));
            Rc::new(Self { alarm: Cell::new(alarm), setting, asked })
        }
    }

    impl Clockwork for Rc<Storage> {
        type Error = &'static str;

        async fn alarm(&self) -> Result<Option<u64>, Self::Error> {
            self.asked.set(self.asked.get() + 1);
            Ok(self.alarm.get())
        }

        async fn set_alarm(&self, _now: u64, at: u64) -> Result<(), Self::Error> {
            match self.setting.get() {
                Setting::Works => self.alarm.set(Some(at)),
                Setting::Fails => return Err("the storage failed"),
                Setting::Hangs => pending().await,
            }
            Ok(())
        }
    }

    /// With a storage that answers at once.
    fn arm(alarm: &Alarm<Rc<Storage>>, expires: u64) -> Result<(), &'static str> {
        alarm.arm(NOW, expires).now_or_never().unwrap()
    }

    #[test]
    fn an_alarm_that_was_not_set_is_set_by_the_next_write() {
        let storage = Storage::new(None);
        let alarm = Alarm::new(Rc::clone(&storage));
        storage.setting.set(Setting::Fails);
        arm(&alarm, NOW + 60_000).unwrap_err();
        storage.setting.set(Setting::Works);
        arm(&alarm, NOW + 60_000).unwrap();
        assert_eq!(storage.alarm.get(), Some(NOW + 60_000));
    }

    #[test]
    fn a_later_alarm_does_not_replace_one_that_is_being_set() {
        let storage = Storage::new(None);
        let alarm = Alarm::new(Rc::clone(&storage));
        storage.setting.set(Setting::Hangs);
        let mut early = pin!(alarm.arm(NOW, NOW + 60_000));
        assert_eq!(early.as_mut().now_or_never(), None);
        storage.setting.set(Setting::Works);
        arm(&alarm, NOW + 600_000).unwrap();
        assert_eq!(storage.alarm.get(), None, "the first is still on its way");
    }

    #[test]
    fn the_storage_is_asked_once_and_not_by_every_write() {
        let storage = Storage::new(Some(NOW + 30_000));
        let alarm = Alarm::new(Rc::clone(&storage));
        arm(&alarm, NOW + 60_000).unwrap();
        arm(&alarm, NOW + 90_000).unwrap();
        assert_eq!((storage.alarm.get(), storage.asked.get()), (Some(NOW + 30_000), 1));
        alarm.rang();
        arm(&alarm, NOW + 90_000).unwrap();
        assert_eq!((storage.alarm.get(), storage.asked.get()), (Some(NOW + 90_000), 1));
    }
}
