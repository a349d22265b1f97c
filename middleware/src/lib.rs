//! Tower middleware of Larder over http types: the response cache. Native and wasm32.
