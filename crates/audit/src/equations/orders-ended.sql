-- orders-ended: at rest
-- Each saga of place-order has one order, which ended as the saga did: COMPLETED is CONFIRMED, COMPENSATED is CANCELLED
-- if the client took it back and REJECTED otherwise. There is none only if it was never created.
-- checked
SELECT count(*) FROM sagas WHERE definition = 'place-order';
-- offenders
WITH ends AS (
    SELECT s.id, s.state,
           CASE WHEN s.state = 3 THEN 2
                WHEN json_valid(progress) AND json_type(progress, '$.phase.compensated.cancelled') IS NOT NULL THEN 4
                ELSE 3 END AS due,
           EXISTS (SELECT 1 FROM answers a WHERE a.saga_id = s.id AND a.step = 'create-order'
                   AND a.direction = 'action' AND a.outcome = 'done') AS created
    FROM sagas s WHERE s.definition = 'place-order' AND s.state IN (3, 4)
)
SELECT format('saga %s ended in state %d, its order in status %d instead of %d', e.id, e.state, o.status, e.due)
FROM ends e JOIN orders o ON o.id = e.id WHERE o.status IS NOT e.due
UNION ALL
SELECT format('saga %s ended in state %d, and its order is not there', id, state)
FROM ends WHERE created AND id NOT IN (SELECT id FROM orders)
UNION ALL
SELECT format('order %s is there %d times', id, count(*)) FROM orders GROUP BY id HAVING count(*) > 1
ORDER BY 1;
