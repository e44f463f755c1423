/* What to do with a token when there is no room for its record. */
#ifndef AUTH_TOKEN_ISSUE_MODE_H
#define AUTH_TOKEN_ISSUE_MODE_H

enum issue_without_room {
    ISSUE_REFUSE, /* do not issue it */
    ISSUE_DROP,   /* issue it without a record */
};

#endif
