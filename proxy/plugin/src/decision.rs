//! The decision under way: what a store of a worker holds while its guest is called.
//!
//! Request and candidates are lent for one call. Their lifetimes are erased here, in one function,
//! which takes them back before it returns; host functions see them through [`Data`].

use std::{borrow::Cow, mem, sync::Arc};

use wasmtime::Store;

use crate::{CandidatesView, RequestView, allowance::Allowance, engine::Machine, ledger::Ledger, limits::Limits};

/// What host functions may ask of a store, whichever kind of call is under way.
pub(crate) trait Data: 'static {
    /// What the plugin shares over its instances.
    fn ledger(&self) -> &Arc<Ledger>;
    /// The request under decision. `'static` means until the host function has returned.
    fn request(&self) -> Option<&'static dyn RequestView>;
    /// The endpoints to pick from. `'static` means until the host function has returned.
    fn candidates(&self) -> Option<&'static dyn CandidatesView>;
    /// Make text last until it has been copied into the guest.
    fn lend(&mut self, text: Cow<'static, str>) -> &'static str;
}

/// Data of a store for decisions.
pub(crate) struct Decision {
    pub limits: Limits,
    pub allowance: Allowance,
    pub machine: Arc<Machine>,
    ledger: Arc<Ledger>,
    request: Lent<dyn RequestView>,
    candidates: Lent<dyn CandidatesView>,
    lent: String,
}

/// What is lent for one call; nothing while none is under way.
struct Lent<T: ?Sized + 'static>(Option<&'static T>);

// SAFETY: a store changes threads only between two calls, when nothing is lent: `during` holds it borrowed for as long as
// something is, and calls the guest on its own thread.
unsafe impl<T: ?Sized> Send for Lent<T> {}

impl Decision {
    pub(crate) fn new(ledger: Arc<Ledger>, machine: Arc<Machine>, limits: Limits) -> Self {
        let (request, candidates) = (Lent(None), Lent(None));
        Self { limits, allowance: Allowance::default(), machine, ledger, request, candidates, lent: String::new() }
    }
}

impl Data for Decision {
    fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn request(&self) -> Option<&'static dyn RequestView> {
        self.request.0
    }

    fn candidates(&self) -> Option<&'static dyn CandidatesView> {
        self.candidates.0
    }

    fn lend(&mut self, text: Cow<'static, str>) -> &'static str {
        match text {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => {
                self.lent = text;
                // SAFETY: the text is returned by a host function and copied into the guest before
                // anything else happens in this store: a guest's allocator, which runs in between,
                // cannot call imports. So `lent` is neither replaced nor dropped before the copy.
                unsafe { mem::transmute::<&str, &'static str>(self.lent.as_str()) }
            }
        }
    }
}

/// Call the guest with the request and the candidates at hand.
pub(crate) fn during<R>(
    store: &mut Store<Decision>,
    request: &dyn RequestView,
    candidates: Option<&dyn CandidatesView>,
    call: impl FnOnce(&mut Store<Decision>) -> R,
) -> R {
    // SAFETY: the erased references live in the store only until `End` is dropped, which is before
    // this function returns or unwinds. They are read by host functions alone, and those run only
    // within `call`; what they derive is copied into the guest before they are left.
    let request = unsafe { mem::transmute::<&dyn RequestView, &'static dyn RequestView>(request) };
    // SAFETY: as above.
    let candidates = candidates
        .map(|candidates| unsafe { mem::transmute::<&dyn CandidatesView, &'static dyn CandidatesView>(candidates) });
    let data = store.data_mut();
    data.request = Lent(Some(request));
    data.candidates = Lent(candidates);
    let end = End(store);
    call(end.0)
}

/// Takes back what was lent.
struct End<'a>(&'a mut Store<Decision>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let data = self.0.data_mut();
        data.request = Lent(None);
        data.candidates = Lent(None);
        if data.lent.capacity() > 0 {
            data.lent = String::new();
        }
    }
}
