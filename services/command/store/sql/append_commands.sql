-- See migrations/0007_append_commands.sql, which says what each parameter is.
SELECT command, outcome FROM append_commands(
    %(k_command)s::int[], %(k_user)s::text[], %(k_key)s::text[], %(k_stream)s::text[],
    %(k_fingerprint)b::bytea[], %(k_status)s::int[], %(k_body)b::bytea[], %(k_location)s::text[],
    %(e_command)s::int[], %(e_first)s::bool[], %(e_stream)s::text[], %(e_version)s::int[], %(e_id)s::uuid[],
    %(e_type)s::text[], %(e_schema)s::int[], %(e_data)s::text[], %(e_metadata)s::text[],
    %(e_time)s::timestamptz[],
    %(p_command)s::int[], %(p_id)s::text[], %(p_version)s::int[],
    %(c_command)s::int[], %(c_id)s::text[], %(c_version)s::int[],
    %(lp_command)s::int[], %(lp_id)s::text[], %(lp_name)s::text[], %(lp_price)s::int[],
    %(lp_available)s::bool[], %(lp_version)s::int[],
    %(lc_command)s::int[], %(lc_id)s::text[], %(lc_registered)s::bool[], %(lc_version)s::int[],
    %(n_command)s::int[], %(n_customer)s::text[], %(n_key)b::bytea[]
)
