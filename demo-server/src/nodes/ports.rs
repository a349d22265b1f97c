use anyhow::ensure;

/// The ports of so many nodes, the first of them and those after it; any that are free for 0.
pub(super) fn from(first: u16, nodes: u16) -> anyhow::Result<Vec<u16>> {
    if first == 0 {
        return Ok(vec![0; nodes.into()]);
    }
    let last = u32::from(first) + u32::from(nodes) - 1;
    let most = u32::from(u16::MAX);
    ensure!(
        last <= most,
        "--nodes {nodes} from --port {first} on takes ports up to {last}, and the last there is is \
         {most}; choose a --port of {} at most, or 0 for any",
        most + 1 - u32::from(nodes)
    );
    Ok((first..=u16::MAX).take(nodes.into()).collect())
}

#[cfg(test)]
mod tests {
    use super::from;

    #[test]
    fn they_are_the_first_and_those_after_it() {
        assert_eq!(from(8787, 3).unwrap(), [8787, 8788, 8789]);
        assert_eq!(from(65_533, 3).unwrap(), [65_533, 65_534, 65_535]);
        assert_eq!(from(65_535, 1).unwrap(), [65_535]);
        assert_eq!(from(0, 3).unwrap(), [0, 0, 0]);
    }

    #[test]
    fn beyond_the_last_port_there_is_none() {
        let error = from(65_534, 3).unwrap_err().to_string();
        for said in ["--nodes 3", "--port 65534", "65536", "65533 at most"] {
            assert!(error.contains(said), "no {said:?} in: {error}");
        }
    }
}
