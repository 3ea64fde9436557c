//! Creates databases and their roles, for `saga setup`.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

/// The reason why a database or role could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The URL lacks a user, a password or a database name. The error does not contain the URL.
    #[error("the database URL must be of the form postgres://user:password@host:port/name")]
    Url,
    /// The administrator's connection failed, or the administrator lacks a permission.
    #[error("cannot make database {database:?} with role {role:?}: {source}")]
    Failed {
        /// Name of the database.
        database: String,
        /// Name of the role that owns the database, or of the reader.
        role: String,
        /// The error from sqlx.
        source: sqlx::Error,
    },
}

/// Creates the database of `url` and the role that owns it, if they are missing, and sets the
/// role's password. No other role may connect to the database. Safe to repeat.
///
/// # Errors
/// [`ProvisionError`].
pub async fn provision(admin_url: &str, url: &str) -> Result<(), ProvisionError> {
    let admin = PgConnectOptions::from_str(admin_url).map_err(|_| ProvisionError::Url)?;
    let owner = PgConnectOptions::from_str(url).map_err(|_| ProvisionError::Url)?;
    let database = owner.get_database().ok_or(ProvisionError::Url)?.to_owned();
    let role = owner.get_username().to_owned();
    let password = password(url).ok_or(ProvisionError::Url)?;
    let failed =
        |source| ProvisionError::Failed { database: database.clone(), role: role.clone(), source };
    let mut admin = PgConnection::connect_with(&admin).await.map_err(failed)?;
    let result = async {
        make_role(&mut admin, &role, &password).await?;
        if !exists(&mut admin, "SELECT 1 FROM pg_database WHERE datname = $1", &database).await? {
            let create: String =
                sqlx::query_scalar("SELECT format('CREATE DATABASE %I OWNER %I', $1, $2)")
                    .bind(&database)
                    .bind(&role)
                    .fetch_one(&mut admin)
                    .await?;
            sqlx::query(AssertSqlSafe(create)).execute(&mut admin).await?;
        }
        let close: String =
            sqlx::query_scalar("SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $1)")
                .bind(&database)
                .fetch_one(&mut admin)
                .await?;
        sqlx::query(AssertSqlSafe(close)).execute(&mut admin).await?;
        Ok::<(), sqlx::Error>(())
    }
    .await;
    result.map_err(failed)
}

/// The login of a role that can only read.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The role's name.
    pub role: &'a str,
    /// The role's password.
    pub password: &'a str,
}

/// Creates the role of `reader`, if it is missing, and sets its password. The role may read every
/// table of the database of `url`, including tables that the owner creates later. Safe to repeat.
///
/// # Errors
/// [`ProvisionError`].
pub async fn provision_reader(
    admin_url: &str,
    url: &str,
    reader: &Reader<'_>,
) -> Result<(), ProvisionError> {
    let admin = PgConnectOptions::from_str(admin_url).map_err(|_| ProvisionError::Url)?;
    let owner = PgConnectOptions::from_str(url).map_err(|_| ProvisionError::Url)?;
    let database = owner.get_database().ok_or(ProvisionError::Url)?.to_owned();
    let result = async {
        let mut admin = PgConnection::connect_with(&admin).await?;
        make_role(&mut admin, reader.role, reader.password).await?;
        let mut owner = PgConnection::connect_with(&owner).await?;
        for grant in [
            "GRANT CONNECT ON DATABASE %2$I TO %1$I",
            "GRANT USAGE ON SCHEMA public TO %1$I",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO %1$I",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO %1$I",
        ] {
            run(&mut owner, grant, reader.role, &database).await?;
        }
        // The grants protect the data. This setting only reports a mistake sooner.
        let careful = "ALTER ROLE %1$I SET default_transaction_read_only = on";
        run(&mut admin, careful, reader.role, &database).await
    }
    .await;
    let role = reader.role.to_owned();
    result.map_err(|source| ProvisionError::Failed { database, role, source })
}

/// Runs a statement about a role and a database. The server quotes the names.
async fn run(
    connection: &mut PgConnection,
    template: &str,
    role: &str,
    database: &str,
) -> Result<(), sqlx::Error> {
    let statement: String = sqlx::query_scalar("SELECT format($1, $2, $3)")
        .bind(template)
        .bind(role)
        .bind(database)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// Creates a role that may log in with this password, or changes the password of an existing role.
async fn make_role(
    admin: &mut PgConnection,
    role: &str,
    password: &str,
) -> Result<(), sqlx::Error> {
    let known = exists(admin, "SELECT 1 FROM pg_roles WHERE rolname = $1", role).await?;
    let verb = if known { "ALTER" } else { "CREATE" };
    // The server quotes identifiers and literals.
    let create: String =
        sqlx::query_scalar("SELECT format('%s ROLE %I LOGIN PASSWORD %L', $1, $2, $3)")
            .bind(verb)
            .bind(role)
            .bind(password)
            .fetch_one(&mut *admin)
            .await?;
    sqlx::query(AssertSqlSafe(create)).execute(admin).await?;
    Ok(())
}

async fn exists(
    admin: &mut PgConnection,
    query: &'static str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(query).bind(name).fetch_optional(admin).await?.is_some())
}

/// Returns the password in a URL. sqlx parses the password but has no method that returns it.
fn password(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (credentials, _) = rest.split_once('@')?;
    let (_, password) = credentials.split_once(':')?;
    let password = percent_decode_str(password).decode_utf8().ok()?;
    (!password.is_empty()).then(|| password.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_as_the_url_means_it() {
        let url = "postgres://saga:p%40ss%2Fword@127.0.0.1:5432/saga";
        assert_eq!(password(url).as_deref(), Some("p@ss/word"));
        for url in ["postgres://saga@host/saga", "saga", "postgres://saga:@host/saga"] {
            assert_eq!(password(url), None, "{url}");
        }
    }
}
