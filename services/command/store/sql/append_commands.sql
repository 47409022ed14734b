-- See migrations/0007_append_commands.sql, which says what each parameter is.
SELECT command, outcome FROM append_commands(
    %(k_command)b::int[], %(k_user)b::text[], %(k_key)b::text[], %(k_stream)b::text[],
    %(k_fingerprint)b::bytea[], %(k_status)b::int[], %(k_body)b::bytea[], %(k_location)b::text[],
    %(e_command)b::int[], %(e_first)b::bool[], %(e_stream)b::text[], %(e_version)b::int[], %(e_id)b::uuid[],
    %(e_type)b::text[], %(e_schema)b::int[], %(e_data)b::text[], %(e_metadata)b::text[],
    %(e_time)b::timestamptz[],
    %(p_command)b::int[], %(p_id)b::text[], %(p_version)b::int[],
    %(c_command)b::int[], %(c_id)b::text[], %(c_version)b::int[],
    %(lp_command)b::int[], %(lp_id)b::text[], %(lp_name)b::text[], %(lp_price)b::int[],
    %(lp_available)b::bool[], %(lp_version)b::int[],
    %(lc_command)b::int[], %(lc_id)b::text[], %(lc_registered)b::bool[], %(lc_version)b::int[],
    %(n_command)b::int[], %(n_customer)b::text[], %(n_key)b::bytea[]
)
