-- Works since 4
--
-- A secret has an id of its own, by which people speak of it: random, and no part of its digest, which
-- would let somebody who knows the id try out weak secrets. The table is written anew, some seconds for
-- each million secrets, in which servers serve what they have cached.

ALTER TABLE client_secrets
    ADD COLUMN secret_id text NOT NULL
        DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 12);

COMMENT ON COLUMN client_secrets.secret_id IS 'What people call it; random';
