//! An object's SQLite storage.

use worker::{SqlStorage, SqlStorageValue};

use super::worker_failure;
use crate::durable::{Database, Value};
use crate::error::Failure;

#[derive(Debug)]
pub(crate) struct Sql(SqlStorage);

impl Sql {
    pub(crate) fn new(storage: SqlStorage) -> Self {
        Self(storage)
    }
}

impl Database for Sql {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Vec<Value>>, Failure> {
        let parameters: Vec<SqlStorageValue> = parameters.into_iter().map(bound).collect();
        let cursor = self.0.exec(statement, parameters).map_err(worker_failure)?;
        cursor
            .raw()
            .map(|row| row.map_err(worker_failure)?.into_iter().map(read).collect())
            .collect()
    }
}

fn bound(value: Value) -> SqlStorageValue {
    match value {
        Value::Null => SqlStorageValue::Null,
        Value::Integer(number) => SqlStorageValue::Integer(number),
        Value::Text(text) => SqlStorageValue::String(text),
        Value::Blob(bytes) => SqlStorageValue::Blob(bytes),
    }
}

fn read(value: SqlStorageValue) -> Result<Value, Failure> {
    match value {
        SqlStorageValue::Null => Ok(Value::Null),
        SqlStorageValue::Boolean(flag) => Ok(Value::Integer(i64::from(flag))),
        SqlStorageValue::Integer(number) => Ok(Value::Integer(number)),
        SqlStorageValue::String(text) => Ok(Value::Text(text)),
        SqlStorageValue::Blob(bytes) => Ok(Value::Blob(bytes)),
        SqlStorageValue::Float(number) => {
            Err(Failure::new(format!("the database answered {number}, which is no integer")))
        }
    }
}
