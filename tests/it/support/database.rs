//! The database as its superuser sees it: a hand that goes past the service.

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
};
use tokio::runtime::{Builder, Runtime};

enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

pub struct Database {
    runtime: Runtime,
    /// Some until it is dropped.
    connection: Option<Connection>,
}

/// Closed when this returns: what SQLite keeps beside its file is gone, or stays.
impl Drop for Database {
    fn drop(&mut self) {
        let closed = self.runtime.block_on(async {
            match self.connection.take() {
                Some(Connection::Sqlite(connection)) => connection.close().await,
                Some(Connection::Postgres(connection)) => connection.close().await,
                None => Ok(()),
            }
        });
        // A test that stops the server has nobody to take leave of.
        drop(closed);
    }
}

impl Database {
    /// `sqlite:…` or `postgres://…`, as in the configuration.
    pub fn open(url: &str) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let connection = runtime.block_on(async {
            match url.starts_with("sqlite:") {
                true => {
                    Connection::Sqlite(SqliteConnection::connect(url).await.expect("the database"))
                }
                false => {
                    Connection::Postgres(PgConnection::connect(url).await.expect("the database"))
                }
            }
        });
        Self {
            runtime,
            connection: Some(connection),
        }
    }

    /// Statements without results.
    pub fn try_run(&mut self, sql: &str) -> Result<(), String> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        self.runtime
            .block_on(async {
                match self.connection.as_mut().expect("open") {
                    Connection::Sqlite(connection) => connection.execute(query).await.map(drop),
                    Connection::Postgres(connection) => connection.execute(query).await.map(drop),
                }
            })
            .map_err(|e| e.to_string())
    }

    pub fn run(&mut self, sql: &str) {
        self.try_run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// Rows of text; a query of other types casts them.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let text =
            |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
        self.runtime
            .block_on(async {
                match self.connection.as_mut().expect("open") {
                    Connection::Sqlite(connection) => {
                        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                            .fetch_all(connection)
                            .await?;
                        Ok::<_, sqlx::Error>(
                            rows.iter()
                                .map(|row| (0..row.len()).map(|i| row.get(i)).collect())
                                .map(text)
                                .collect(),
                        )
                    }
                    Connection::Postgres(connection) => {
                        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                            .fetch_all(connection)
                            .await?;
                        Ok(rows
                            .iter()
                            .map(|row| (0..row.len()).map(|i| row.get(i)).collect())
                            .map(text)
                            .collect())
                    }
                }
            })
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The only value of the only row.
    pub fn one(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "{sql}: {rows:?}");
        rows[0][0].clone()
    }

    /// Lifts the triggers from these tables, as a superuser can.
    pub fn disarm(&mut self, tables: &[&str]) {
        match self.connection.as_ref().expect("open") {
            Connection::Sqlite(_) => {
                for row in
                    self.rows("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'")
                {
                    if tables.contains(&row[1].as_str()) {
                        self.run(&format!("DROP TRIGGER {}", row[0]));
                    }
                }
            }
            Connection::Postgres(_) => {
                for table in tables {
                    self.run(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
                }
            }
        }
    }

    /// Tells every replica that there is something new, as the service does.
    pub fn announce(&mut self) {
        self.run("UPDATE log_head SET version = version + 1");
    }

    /// Bytes as a literal.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.connection.as_ref().expect("open") {
            Connection::Sqlite(_) => format!("x'{hex}'"),
            Connection::Postgres(_) => format!("'\\x{hex}'::bytea"),
        }
    }

    /// One column of bytes of the only row.
    pub fn read_bytes(&mut self, column: &str, rest: &str) -> Vec<u8> {
        let hex = match self.connection.as_ref().expect("open") {
            Connection::Sqlite(_) => format!("hex({column})"),
            Connection::Postgres(_) => format!("encode({column}, 'hex')"),
        };
        let hex = self.one(&format!("SELECT {hex} {rest}"));
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    }
}
