//! Objects as the server has them, whole: read for the moment in which a plan is made, never kept and never shown.

use serde_json::Value;

use super::connect::{Connection, ReadError};
use crate::error::{Error, Result};
use crate::kinds::Kind;

/// The object of that name; `None` when there is none. It is listed, so that no more than `list` has to be allowed.
///
/// # Errors
/// When it cannot be read.
pub async fn object(
    connection: &Connection,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<Value>> {
    let path = format!("{}?fieldSelector=metadata.name%3D{name}", kind.path(Some(namespace)));
    let doing = format!("read {} {name}", kind.name());
    let explain = |error: &ReadError| connection.explain(error, &doing);
    let body = connection.get_bytes(&path, "application/json").await.map_err(|error| explain(&error))?;
    let mut list: Value = serde_json::from_slice(&body)
        .map_err(|error| Error::cluster(format!("could not {doing}")).because(error))?;
    Ok(list["items"].as_array_mut().and_then(|items| items.drain(..).next()))
}

/// All objects of a kind that an owner of this uid controls.
///
/// # Errors
/// When they cannot be read.
pub async fn owned(connection: &Connection, namespace: &str, kind: Kind, owner: &str) -> Result<Vec<Value>> {
    let doing = format!("list {}", kind.plural());
    let body = connection.get_bytes(&kind.path(Some(namespace)), "application/json").await;
    let body = body.map_err(|error| connection.explain(&error, &doing))?;
    let mut list: Value = serde_json::from_slice(&body)
        .map_err(|error| Error::cluster(format!("could not {doing}")).because(error))?;
    let mut items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    items.retain(|item| {
        let owners = item["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|it| it["controller"] == true && it["uid"] == owner))
    });
    Ok(items)
}

/// Who manages a part of an object besides us, by the names in its managedFields; `path` as in
/// `["f:spec", "f:template"]`.
pub fn managers(object: &Value, path: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let field = path.iter().try_fold(&entry["fieldsV1"], |field, key| field.get(key));
        if let (Some(_), Some(name)) = (field, entry["manager"].as_str())
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}
