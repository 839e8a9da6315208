//! What a server wrote into its journal is lived through again.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use daemon_kit::shutdown::Stop;
use distccd_server::config::Config;

async fn serve_once(config: &Config) {
    let listener = distccd_server::listen(config).await.unwrap();
    let stop = Stop::new();
    stop.asked.cancel();
    distccd_server::run(config.clone(), listener, stop).await.unwrap();
}

#[tokio::test]
async fn each_run_leaves_a_journal_that_replays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let server_addr = "127.0.0.1:0".to_owned();
    let config = Config { server_addr, journal: Some(path.clone()), ..Config::default() };

    serve_once(&config).await;
    serve_once(&config).await;

    for path in [path, dir.path().join("journal.old")] {
        let replayed = journal::replay(std::fs::File::open(path).unwrap()).unwrap();
        // It was told to stop at least.
        assert!(replayed.steps >= 1 && !replayed.is_torn, "{replayed:?}");
    }
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_is_told_at_the_start() {
    let journal = Some("/no/such/directory/journal".into());
    let config = Config { server_addr: "127.0.0.1:0".to_owned(), journal, ..Config::default() };
    let listener = distccd_server::listen(&config).await.unwrap();

    let error = distccd_server::run(config, listener, Stop::new()).await.unwrap_err();

    assert!(error.to_string().contains("/no/such/directory/journal"), "{error}");
}
