-- What waits, in words that only those use who look for it. A statement that looks up one row by its id and asks for its status as well
-- could have been served by these indexes as they were: read whole, which is cheapest while nothing waits, and by a plan that is kept when much does.
drop index agent_core.turn_open;
create index turn_open on agent_core.turn (robot_code, conversation_id, lane, sequence) where status = 'queued' or lease_until is not null;
drop index outbound_sender.outbound_message_queued;
create index outbound_message_queued on outbound_sender.outbound_message (budget, lane, recorded_at)
  where ended_at is null and lease_until is null;
