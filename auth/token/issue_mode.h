/* What happens to a token for whose record there is no room. */
#ifndef AUTH_TOKEN_ISSUE_MODE_H
#define AUTH_TOKEN_ISSUE_MODE_H

enum issue_without_room {
    ISSUE_REFUSE, /* it is not issued */
    ISSUE_DROP,   /* it is issued without a record */
};

#endif
