/* What is read of the table of revoked tokens, and its pages, as /revocations gives them. */
#ifndef AUTH_TOKEN_REVOKED_TOKENS_H
#define AUTH_TOKEN_REVOKED_TOKENS_H

/* Which rows are read: also those that have just expired, since clocks differ and verifiers allow
 * for that. */
#define REVOKED_TOKENS_LIVE_SQL "expires_at > now() - interval '10 minutes'"

/* A page, whose order is that of the transactions, after ($1, $2). PostgreSQL writes the JSON text.
 * The identity is of the sequence of transactions: in another database, or after a restore or a
 * fail-over, the same numbers mean others. */
#define REVOKED_TOKENS_PAGE_SQL                                                                    \
    "WITH page AS ("                                                                               \
    "SELECT xid, jti, ceil(extract(epoch FROM expires_at))::bigint AS exp FROM revoked_tokens"     \
    " WHERE (xid, jti) > ($1::xid8, $2::uuid) AND " REVOKED_TOKENS_LIVE_SQL                        \
    " ORDER BY xid, jti LIMIT 2000)"                                                               \
    " SELECT (SELECT system_identifier FROM pg_control_system()) || '.' ||"                        \
    "  left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.' ||"                                   \
    "  (SELECT oid FROM pg_database WHERE datname = current_database()),"                          \
    " pg_snapshot_xmin(pg_current_snapshot()), (SELECT count(*) FROM page),"                       \
    " (SELECT string_agg('[\"' || jti || '\",' || exp || ']', ',') FROM page),"                    \
    " (SELECT xid || '-' || jti FROM page ORDER BY xid DESC, jti DESC LIMIT 1)"
#define REVOKED_TOKENS_PAGE 2000

#endif
