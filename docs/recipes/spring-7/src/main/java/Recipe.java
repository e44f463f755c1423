import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.endpoint.RestClientClientCredentialsTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.client.registration.ClientRegistrations;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import org.springframework.util.LinkedMultiValueMap;

/** Gets a token with Spring Security 7, and verifies one. See ../README.md. */
public class Recipe {
    static final String ISSUER = System.getenv("ISSUER"), AUDIENCE = System.getenv("AUDIENCE");

    /**
     * In an application, an OAuth2AuthorizedClientManager does this: it keeps the token and gets
     * another one shortly before it expires.
     */
    static String getToken() {
        ClientRegistration registration = ClientRegistrations.fromIssuerLocation(ISSUER)
            .registrationId("jotd").authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
            .clientId(System.getenv("CLIENT_ID")).clientSecret(System.getenv("CLIENT_SECRET"))
            .scope("read").build();
        var client = new RestClientClientCredentialsTokenResponseClient();
        client.addParametersConverter(grant -> {
            var parameters = new LinkedMultiValueMap<String, String>();
            parameters.put("resource", List.of(AUDIENCE));
            return parameters;
        });
        return client.getTokenResponse(new OAuth2ClientCredentialsGrantRequest(registration))
            .getAccessToken().getTokenValue();
    }

    /**
     * The @Bean of a resource server. The default validator requires the typ JWT, this one at+jwt
     * (RFC 9068).
     */
    static JwtDecoder jwtDecoder() {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withIssuerLocation(ISSUER).build();
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator()
            .issuer(ISSUER).audience(AUDIENCE)
            .validators(claims -> claims.put("client_id",
                new JwtClaimValidator<String>("client_id", Objects::nonNull))) // any client
            .build());
        return decoder;
    }

    public static void main(String[] arguments) {
        String token = System.getenv("TOKEN"); // to verify an existing token
        Jwt verified = jwtDecoder().decode(token != null ? token : getToken());
        String claims = verified.getTokenValue().split("\\.")[1];
        System.out.println(new String(Base64.getUrlDecoder().decode(claims), StandardCharsets.UTF_8));
    }
}
