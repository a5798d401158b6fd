//! `docs/from-asbackup.md`: it has every option of the other tools, and the options of ours that it names exist.

use std::collections::BTreeSet;

/// The options of asbackup 4.5.8.
const ASBACKUP: &str = "
    after-digest auth bin-list compact compress compression-level config-file continue directory encrypt
    encryption-key-env encryption-key-file estimate estimate-samples file-limit filter-exp host instance machine
    max-records max-retries modified-after modified-before namespace nice no-bins no-config-file no-indexes no-records
    no-ttl-only no-udfs node-list only-config-file options output-file output-file-prefix parallel partition-list
    password port prefer-racks records-per-second remove-artifacts remove-files s3-allow-system-proxy
    s3-connect-timeout s3-endpoint-override s3-log-level s3-max-async-downloads s3-max-async-uploads s3-min-part-size
    s3-profile s3-region sa-address sa-cafile sa-port sa-timeout services-alternate set sleep-between-retries
    socket-timeout state-file-dst tls-cafile tls-capath tls-cert-blacklist tls-certfile tls-cipher-suite tls-crl-check
    tls-crl-checkall tls-enable tls-keyfile tls-keyfile-password tls-log-session-info tls-name tls-protocols
    total-timeout usage user verbose version";

/// The options of asrestore 4.5.8.
const ASRESTORE: &str = "
    auth batch-size bin-list compress config-file directory directory-list disable-batch-writes encrypt
    encryption-key-env encryption-key-file event-loops extra-ttl host ignore-record-error indexes-last input-file
    instance machine max-async-batches max-retries namespace nice no-config-file no-generation no-indexes no-records
    no-udfs only-config-file options parallel parent-directory password port replace retry-scale-factor
    s3-allow-system-proxy s3-connect-timeout s3-endpoint-override s3-log-level s3-max-async-downloads s3-profile
    s3-region sa-address sa-cafile sa-port sa-timeout services-alternate set-list socket-timeout threads timeout
    tls-cafile tls-capath tls-cert-blackList tls-certfile tls-cipher-suite tls-crl-check tls-crl-checkall tls-enable
    tls-keyfile tls-keyfile-password tls-log-session-info tls-name tls-protocols total-timeout unique usage user
    validate verbose version wait";

/// The options of absctl: of all commands, of `backup`, `restore` and `backup xdr`, and of `service` and `server`.
const ABSCTL: &str = "
    config help log-file log-json log-level verbose version
    auth host password port services-alternate tls-cafile tls-capath tls-certfile tls-enable tls-keyfile
    tls-keyfile-password tls-name tls-protocols user
    client-idle-timeout client-login-timeout client-timeout
    bandwidth bin-list directory info-max-retries info-retry-interval info-retry-multiplier info-timeout namespace nice
    no-indexes no-records no-udfs parallel records-per-second set-list socket-timeout std-buffer total-timeout
    compress compression-level encrypt encryption-key-env encryption-key-file encryption-key-secret local-buffer-size
    sa-address sa-ca-file sa-cert-file sa-connection-type sa-is-base64 sa-key-file sa-port sa-timeout sa-tls-name
    after-digest compact continue estimate estimate-samples file-limit filter-exp max-records max-retries
    modified-after modified-before no-bins no-ttl-only node-list output-file output-file-prefix partition-list
    prefer-racks rack-list remove-artifacts remove-files scan-page-size sleep-between-retries state-file-dst
    apply-metadata-last batch-size directory-list disable-batch-writes extra-ttl ignore-record-error input-file
    max-async-batches no-generation parent-directory replace retry-base-interval retry-max-attempts retry-multiplier
    unique validate warm-up
    ack-queue-size dc forward info-poling-period local-address local-port max-connections max-throughput parallel-write
    read-timeout results-queue-size rewind start-timeout stop-xdr unblock-mrt write-timeout
    s3-access-key-id s3-bucket-name s3-calculate-checksum s3-chunk-size s3-endpoint-override s3-max-conns-per-host
    s3-profile s3-region s3-request-timeout s3-restore-poll-duration s3-retry-max-attempts s3-retry-max-backoff
    s3-retry-read-backoff s3-retry-read-max-attempts s3-retry-read-multiplier s3-secret-access-key s3-storage-class
    s3-tier s3-upload-concurrency
    azure-access-tier azure-account-key azure-account-name azure-block-size azure-calculate-checksum azure-client-id
    azure-client-secret azure-container-name azure-endpoint azure-max-conns-per-host azure-rehydrate-poll-duration
    azure-request-timeout azure-retry-delay azure-retry-max-attempts azure-retry-max-delay azure-retry-read-backoff
    azure-retry-read-max-attempts azure-retry-read-multiplier azure-tenant-id azure-upload-concurrency
    gcp-bucket-name gcp-calculate-checksum gcp-chunk-size gcp-endpoint-override gcp-key-path gcp-max-conns-per-host
    gcp-request-timeout gcp-retry-backoff-multiplier gcp-retry-init-backoff gcp-retry-max-attempts
    gcp-retry-max-backoff gcp-retry-read-backoff gcp-retry-read-max-attempts gcp-retry-read-multiplier
    backup-id object-storage-type path service-host service-port delay from name to file
    conn-timeout credentials-auth-mode credentials-password credentials-password-path credentials-secret-agent-name
    credentials-user label max-parallel-scans seed-node tls-ca-file tls-ca-path tls-cert-file tls-cipher-suite
    tls-key-file tls-key-file-password use-services-alternate
    compression-mode concurrent-incremental encryption-mode max-concurrent-nodes retention-full retention-incremental
    retry-base-timeout retry-max-retries sealed use-scan-compression with-cluster-configuration
    backup-policy disabled incr-interval-cron interval-cron namespaces routine secret-agent source-cluster storage
    backup-data-path destination-name disable-reordering job-id secret-agent-name source-name status time
    azure-storage-account-key azure-storage-account-name azure-storage-client-id azure-storage-client-secret
    azure-storage-container-name azure-storage-endpoint azure-storage-min-part-size azure-storage-path
    azure-storage-secret-agent-name azure-storage-storage-class-data azure-storage-storage-class-metadata
    azure-storage-tenant-id
    gcp-storage-bucket-name gcp-storage-endpoint gcp-storage-key gcp-storage-key-file-path gcp-storage-min-part-size
    gcp-storage-path gcp-storage-secret-agent-name gcp-storage-storage-class-data
    local-storage-min-part-size local-storage-path
    s3-storage-access-key-id s3-storage-bucket s3-storage-max-async-connections s3-storage-min-part-size
    s3-storage-path s3-storage-s3-endpoint-override s3-storage-s3-log-level s3-storage-s3-profile
    s3-storage-s3-region s3-storage-secret-access-key s3-storage-secret-agent-name";

fn page() -> String {
    std::fs::read_to_string(format!("{}/docs/from-asbackup.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The options that a text names, without dashes.
fn options(text: &str) -> impl Iterator<Item = String> + '_ {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices("--").filter_map(move |(at, _)| {
        let name = text[at + 2..].split(|c| !is_part(c)).next().unwrap_or_default();
        let begins = at == 0 || !text[..at].ends_with(is_part);
        (begins && name.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| name.to_string())
    })
}

/// What the page's tables name: options of theirs, and of ours.
fn named() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut theirs, mut ours) = (BTreeSet::new(), BTreeSet::new());
    for line in page().lines() {
        if let Some(row) = line.strip_prefix("| ") {
            let (first, rest) = row.split_once(" | ").unwrap_or_else(|| panic!("{line}: two cells"));
            theirs.extend(options(first));
            ours.extend(options(rest));
        } else if line.starts_with("$ aerolith") {
            ours.extend(options(line));
        }
    }
    (theirs, ours)
}

#[test]
fn every_option_of_the_other_tools_is_on_the_page() {
    let all: BTreeSet<String> =
        [ASBACKUP, ASRESTORE, ABSCTL].into_iter().flat_map(str::split_whitespace).map(str::to_string).collect();
    assert!(all.len() > 250, "{}", all.len());
    let (theirs, _) = named();
    assert_eq!(all.difference(&theirs).collect::<Vec<_>>(), Vec::<&String>::new(), "are missing on the page");
    assert_eq!(theirs.difference(&all).collect::<Vec<_>>(), Vec::<&String>::new(), "are no options of those tools");
}

#[test]
fn the_page_names_no_option_of_ours_that_does_not_exist() {
    fn collect(command: &clap::Command, into: &mut BTreeSet<String>) {
        into.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_string));
        command.get_subcommands().for_each(|one| collect(one, into));
    }
    let mut command = aerolith::cli::command();
    command.build();
    let mut exist = BTreeSet::new();
    collect(&command, &mut exist);
    let (_, ours) = named();
    assert!(ours.len() > 40, "{ours:?}");
    assert_eq!(ours.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "exist in no command");
}
