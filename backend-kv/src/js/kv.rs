//! A namespace's binding.
//!
//! It is called directly: `worker` 0.8 hands out no handle to a value that is missing in a bulk
//! read with metadata, but fails the whole read.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use worker::Env;
use worker::js_sys::{Array, JsString, Map, Object, Uint8Array};
use worker::send::SendFuture;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::web_sys::ReadableStream;

use super::{Handle, get, set};
use crate::error::Failure;
use crate::kv::frame::FIELDS;
use crate::kv::namespace::{Field, Held, HeldText, Listed, Listing, Metadata, Namespace};

pub(crate) struct WorkersKv(Handle);

impl WorkersKv {
    /// The binding of that name, if there is one.
    pub(crate) fn open(env: &Env, binding: &str) -> Option<Self> {
        let namespace = get(env, binding).ok()?;
        let is_kv = get(&namespace, "getWithMetadata").is_ok_and(|method| method.is_function());
        is_kv.then(|| Self(Handle::new(namespace)))
    }

    async fn read(
        &self,
        keys: &JsValue,
        form: &str,
        cache_ttl: Option<u32>,
    ) -> Result<JsValue, Failure> {
        let options = Object::new();
        set(&options, "type", &form.into())?;
        if let Some(seconds) = cache_ttl {
            set(&options, "cacheTtl", &seconds.into())?;
        }
        self.0.call("getWithMetadata", &[keys, &options]).await
    }
}

#[async_trait]
impl Namespace for WorkersKv {
    async fn get(&self, key: &str, cache_ttl: Option<u32>) -> Result<Option<Held>, Failure> {
        SendFuture::new(async {
            let found = self.read(&key.into(), "arrayBuffer", cache_ttl).await?;
            let value = get(&found, "value")?;
            if value.is_null() {
                return Ok(None);
            }
            let value = Bytes::from(Uint8Array::new(&value).to_vec());
            Ok(Some(Held { value, metadata: metadata(&found)? }))
        })
        .await
    }

    async fn get_bulk(
        &self,
        keys: &[&str],
        cache_ttl: Option<u32>,
    ) -> Result<HashMap<String, HeldText>, Failure> {
        SendFuture::new(async {
            let found = self.read(&strings(keys), "text", cache_ttl).await?;
            let Some(found) = found.dyn_ref::<Map>() else {
                return Err(Failure::new("a bulk read was not answered with a map"));
            };
            let mut held = HashMap::with_capacity(keys.len());
            for key in keys {
                let entry = found.get(&(*key).into());
                // An empty value comes as it is, without its metadata; the rest as an object.
                let (text, metadata) = match entry.as_string() {
                    Some(text) => (Some(text), None),
                    None if entry.is_object() => {
                        (get(&entry, "value")?.as_string(), metadata(&entry)?)
                    }
                    None => (None, None),
                };
                if let Some(text) = text {
                    held.insert((*key).to_owned(), HeldText { text, metadata });
                }
            }
            Ok(held)
        })
        .await
    }

    async fn metadata(
        &self,
        key: &str,
        cache_ttl: Option<u32>,
    ) -> Result<Option<Option<Metadata>>, Failure> {
        SendFuture::new(async {
            let found = self.read(&key.into(), "stream", cache_ttl).await?;
            let value = get(&found, "value")?;
            let Some(stream) = value.dyn_ref::<ReadableStream>() else { return Ok(None) };
            let _ = stream.cancel();
            Ok(Some(metadata(&found)?))
        })
        .await
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        metadata: &Metadata,
        expiration_ttl: u64,
    ) -> Result<(), Failure> {
        SendFuture::new(async {
            let options = Object::new();
            // Exact far beyond the longest life.
            set(&options, "expirationTtl", &(expiration_ttl as f64).into())?;
            let beside = Object::new();
            for (name, field) in metadata.fields() {
                set(&beside, name, &value_of(field))?;
            }
            set(&options, "metadata", &beside)?;
            let value = Uint8Array::from(value);
            self.0.call("put", &[&key.into(), &value, &options]).await.map(drop)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        SendFuture::new(async { self.0.call("delete", &[&key.into()]).await.map(drop) }).await
    }

    async fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Listing, Failure> {
        SendFuture::new(async {
            let options = Object::new();
            set(&options, "prefix", &prefix.into())?;
            set(&options, "limit", &limit.into())?;
            if let Some(cursor) = cursor {
                set(&options, "cursor", &cursor.into())?;
            }
            let page = self.0.call("list", &[&options]).await?;
            let keys = Array::from(&get(&page, "keys")?);
            let keys = keys.iter().map(|key| listed(&key)).collect::<Result<_, _>>()?;
            let next = match get(&page, "list_complete")?.as_bool() {
                Some(false) => get(&page, "cursor")?.as_string(),
                _ => None,
            };
            Ok(Listing { keys, next })
        })
        .await
    }
}

fn listed(key: &JsValue) -> Result<Listed, Failure> {
    Ok(Listed {
        name: get(key, "name")?.as_string().unwrap_or_default(),
        // Seconds since the UNIX epoch.
        expiration: get(key, "expiration")?.as_f64().map(|seconds| seconds as u64),
        metadata: metadata(key)?,
    })
}

fn metadata(entry: &JsValue) -> Result<Option<Metadata>, Failure> {
    let metadata = get(entry, "metadata")?;
    if metadata.is_null() || metadata.is_undefined() {
        return Ok(None);
    }
    let mut fields = Metadata::default();
    // Another writer's may be a number, or a text.
    for name in FIELDS.into_iter().filter(|_| metadata.is_object()) {
        let field = get(&metadata, name)?;
        if !field.is_undefined() {
            fields = fields.with(name, field_of(&field));
        }
    }
    Ok(Some(fields))
}

fn field_of(value: &JsValue) -> Field {
    let number = value.as_f64().map(Field::Number);
    let text = || value.as_string().map(Field::Text);
    let flag = || value.as_bool().map(Field::Flag);
    number.or_else(text).or_else(flag).unwrap_or(Field::Other)
}

fn value_of(field: &Field) -> JsValue {
    match field {
        Field::Number(number) => (*number).into(),
        Field::Text(text) => text.into(),
        Field::Flag(flag) => (*flag).into(),
        Field::Other => JsValue::NULL,
    }
}

fn strings(texts: &[&str]) -> JsValue {
    texts.iter().map(|text| JsString::from(*text)).collect::<Array>().into()
}

impl fmt::Debug for WorkersKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkersKv")
    }
}
