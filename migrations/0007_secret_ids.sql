-- Works since 4
--
-- Gives every secret an id by which people refer to it. It is random: part of the digest would let
-- anybody who knows the id test guesses of weak secrets. The table is rewritten, which takes some
-- seconds per million secrets; meanwhile servers serve only the clients they have cached.

ALTER TABLE client_secrets
    ADD COLUMN secret_id text NOT NULL
        DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 12);

COMMENT ON COLUMN client_secrets.secret_id IS 'What people call it; random';
