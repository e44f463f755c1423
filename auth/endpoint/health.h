/* Endpoints for operators: /health, /ready, /metrics. */
#ifndef AUTH_ENDPOINT_HEALTH_H
#define AUTH_ENDPOINT_HEALTH_H

#include <h2o.h>

void health_handle(h2o_req_t *req);
void health_handle_ready(h2o_req_t *req);
void health_handle_metrics(h2o_req_t *req);

#endif
