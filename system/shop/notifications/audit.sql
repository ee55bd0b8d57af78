-- name: mails
SELECT notification_id::text, event_id, user_id, order_id::text, kind, status, recipient, subject,
       body_text, created_at, sent_at, message_id
FROM mails ORDER BY notification_id;

-- name: inbox
SELECT event_id, handler, processed_at FROM inbox ORDER BY processed_at, event_id;
