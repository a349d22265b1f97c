//! What keys are made of.

#[cfg(feature = "axum")]
use axum::extract::OriginalUri;
use http::Uri;
use http::request::Parts;

/// The URI with the prefix that axum has stripped from it, where the router is nested.
pub(crate) fn whole_uri(request: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(OriginalUri(whole)) = request.extensions.get()
        && is_end_of(&request.uri, whole)
    {
        return whole;
    }
    &request.uri
}

/// Whether nothing but the beginning of the path is missing. A URI that was written anew, by
/// whatever the request has passed, stands for itself.
#[cfg(feature = "axum")]
fn is_end_of(uri: &Uri, whole: &Uri) -> bool {
    uri.query() == whole.query() && (uri.path() == "/" || whole.path().ends_with(uri.path()))
}

pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}
