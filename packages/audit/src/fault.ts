/** What verifying found wrong. `text` names the entry or block and says what is wrong with it. */
export type Fault = {
  code:
    | 'entry_edited'
    | 'entry_time_altered'
    | 'entry_deleted'
    | 'entry_inserted'
    | 'entry_out_of_range'
    | 'entries_altered'
    | 'entry_not_sealed'
    | 'detail_altered'
    | 'policy_altered'
    | 'detail_missing'
    | 'detail_erased_unrecorded'
    | 'block_missing'
    | 'block_altered'
    | 'block_unchained'
    | 'block_gap'
    | 'leaves_altered'
    | 'signature_bad'
    | 'key_unknown'
    | 'tail_deleted'
    | 'resealed'
    | 'checkpoint_bad'
    | 'retirement_wrong';
  text: string;
  block?: number;
  entryId?: string;
};
