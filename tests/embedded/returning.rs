//! Returns over SQLite. Afterwards the databases must agree.

use crate::{
    returns,
    system::{audit, embedded},
};

#[tokio::test(flavor = "multi_thread")]
async fn returns_in_whole_and_in_part_add_up_in_an_embedded_system() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let system = embedded(&data, &dir.path().join("logs"));
    system.start().await?;
    system.stock("teapot", 100).await?;
    returns::tell(system.channel()?).await?;
    audit(&data).await?;
    system.stop()
}
