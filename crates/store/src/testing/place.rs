//! A fresh database on either engine, and a way past the store into it.

use std::path::PathBuf;
use std::str::FromStr;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::super::*;
use super::server;

pub struct Place {
    pub store: Store,
    pub database: Database,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chancery.db");
        Self::open(Database::Sqlite { path }, Some(directory)).await
    }

    pub async fn postgres() -> Self {
        let url = server::fresh_database().await;
        Self::open(
            Database::Postgres {
                url: url.into(),
                connections: 4,
            },
            None,
        )
        .await
    }

    /// On a server that a test may stop.
    pub async fn on(server: &server::Server) -> Self {
        let url = server.create_database("chancery").unwrap().into();
        let database = Database::Postgres {
            url,
            connections: 4,
        };
        Self::open(database, None).await
    }

    pub async fn open(database: Database, _directory: Option<tempfile::TempDir>) -> Self {
        let store = Store::found(&database).await.unwrap();
        assert!(store.migrate().await.unwrap() > 0);
        Self {
            store,
            database,
            _directory,
        }
    }

    /// Of a database that somebody else made.
    pub fn of(store: Store, database: Database) -> Self {
        Self {
            store,
            database,
            _directory: None,
        }
    }

    /// Another replica.
    pub async fn replica(&self) -> Store {
        Store::connect(&self.database).await.unwrap()
    }

    pub fn path(&self) -> PathBuf {
        match &self.database {
            Database::Sqlite { path } => path.clone(),
            Database::Postgres { .. } => panic!("no file"),
        }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.database, Database::Sqlite { .. })
    }

    /// A hand in the database: as its owner, around the store and its pragmas.
    pub async fn raw(&self, sql: &str) -> Result<u64, sqlx::Error> {
        match &self.database {
            Database::Sqlite { path } => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .foreign_keys(true);
                let mut connection = options.connect().await?;
                let done = sqlx::query(AssertSqlSafe(sql))
                    .execute(&mut connection)
                    .await;
                connection.close().await?;
                done.map(|done| done.rows_affected())
            }
            Database::Postgres { url, .. } => {
                let options = PgConnectOptions::from_str(url.expose_secret())?;
                let mut connection = options.connect().await?;
                let done = sqlx::query(AssertSqlSafe(sql))
                    .execute(&mut connection)
                    .await;
                connection.close().await?;
                done.map(|done| done.rows_affected())
            }
        }
    }

    /// Beside the store, on PostgreSQL.
    pub async fn other_connection(&self) -> sqlx::PgConnection {
        let Database::Postgres { url, .. } = &self.database else {
            panic!("no server");
        };
        let options = PgConnectOptions::from_str(url.expose_secret()).unwrap();
        options.connect().await.unwrap()
    }

    /// The database itself must say no.
    pub async fn refuses(&self, sql: &str) {
        match self.raw(sql).await {
            Err(sqlx::Error::Database(_)) => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
}
