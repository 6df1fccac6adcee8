//! The contract of the store: the same functions on SQLite and on a PostgreSQL that this process
//! starts. What concerns one engine only stands in a file of its own.

mod life;
mod place;
mod server;
mod signing;
mod world;

/// Each function becomes one test on each engine.
macro_rules! contract {
    ($($module:ident :: $name:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(super::place::Place::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$module::$name(super::place::Place::postgres().await).await;
            })*
        }
    };
}

contract! {
    life::key_lives_from_generation_to_archive,
    life::revoked_primary_hands_over_to_its_successor,
    signing::indexes_are_contiguous_from_zero,
    signing::revoked_key_gets_no_leaf_and_leaves_no_gap,
    signing::first_answer_stands,
}
