-- Each alert, once, to whoever watches over fraud: one POST an alert, signed, with an id that stays the same when it is tried again. The table has a
-- key, so an alert that no longer holds (the customer's average has risen since) is withdrawn there too.

CREATE SINK fraud_desk FROM fraud_alerts
WITH (connector = 'webhook', url = '${FRAUD_URL}', secret = '${FRAUD_SECRET}', allow_private = true, start = 'snapshot');
